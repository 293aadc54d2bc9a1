/// \file report.hpp  The table of an evaluation as JSON, CSV, Markdown, LaTeX, HTML or plain text; conventions are
/// named.
#pragma once

#include <negood/metric/evaluate.hpp>
#include <negood/text/escape.hpp>
#include <negood/text/number.hpp>

namespace negood {

struct eval_set {
  std::string name;
  metric_report report;
};

struct eval_table {
  std::vector<eval_set> sets;
  /// FPR columns of the tables; JSON and CSV always hold all three. The first is the default one.
  std::vector<fpr_convention> conventions{fpr_convention::id_positive_nearest};
  std::optional<double> id_accuracy = {};
};

/// The plain mean over the table's sets; nothing if one of them has no values.
inline std::optional<metric_values> mean(const eval_table& table) {
  std::vector<metric_report> reports;
  for (const eval_set& s : table.sets) reports.push_back(s.report);
  return mean(std::span<const metric_report>(reports));
}

namespace detail {

/// "fpr95", or "fpr99.5" at another recall.
inline std::string fpr_key(const eval_table& table) {
  const double recall = table.sets.empty() ? 0.95 : table.sets.front().report.recall;
  return "fpr" + text::significant(100 * recall, 6);
}

inline std::string fpr_title(const eval_table& table, fpr_convention convention) {
  std::string key = fpr_key(table);
  key.replace(0, 3, "FPR");
  return key + " (" + std::string(title(convention)) + ")";
}

/// What a summarised set prints instead of numbers.
inline std::string missing_reason(const eval_table& table) {
  if (table.sets.empty()) return "there is no OOD set";
  for (const eval_set& s : table.sets)
    if (!s.report.values) return s.name + ": " + s.report.reason;
  return {};
}

struct named_value {
  std::string_view name;
  double metric_values::*member;
};
/// AUPR without a suffix is the average precision, which goes with the default FPR convention in the literature.
inline constexpr named_value named_values[] = {{"auroc", &metric_values::auroc},
                                               {"auroc_strict", &metric_values::auroc_strict},
                                               {"aupr_in", &metric_values::aupr_in_step},
                                               {"aupr_out", &metric_values::aupr_out_step},
                                               {"aupr_in_trapezoid", &metric_values::aupr_in_trapezoid},
                                               {"aupr_in_step", &metric_values::aupr_in_step},
                                               {"aupr_out_trapezoid", &metric_values::aupr_out_trapezoid},
                                               {"aupr_out_step", &metric_values::aupr_out_step}};

inline std::string json_values(const std::optional<metric_values>& values, const std::string& key) {
  const auto number = [](const double* x) { return x == nullptr ? std::string("null") : text::significant(*x); };
  std::string out;
  for (const named_value& v : named_values)
    out += '"' + std::string(v.name) + "\":" + number(values ? &((*values).*v.member) : nullptr) + ',';
  out += '"' + key + "\":{";
  for (const fpr_convention c : fpr_conventions) {
    const double fpr = values ? values->fpr[c] : 0;
    out += (c == fpr_conventions.front() ? "\"" : ",\"") + std::string(to_string(c)) +
           "\":" + number(values ? &fpr : nullptr);
  }
  return out + '}';
}

/// Rows of text cells: a header, one row a set, the mean. `escape` makes names safe for the format.
template <class Escape>
std::vector<std::vector<std::string>> percent_rows(const eval_table& table, Escape escape) {
  std::vector<std::vector<std::string>> rows{{"OOD set", "ID", "OOD", "AUROC", "AUPR-in (step)", "AUPR-out (step)"}};
  for (const fpr_convention c : table.conventions) rows[0].push_back(escape(fpr_title(table, c)));
  const auto row = [&](std::string name, std::string n_id, std::string n_ood,
                       const std::optional<metric_values>& values) {
    std::vector<std::string> cells{std::move(name), std::move(n_id), std::move(n_ood)};
    const auto add = [&](double x) { cells.push_back(values ? text::fixed(100 * x, 2) : "n/a"); };
    const metric_values v = values.value_or(metric_values{});
    add(v.auroc);
    add(v.aupr_in_step);
    add(v.aupr_out_step);
    for (const fpr_convention c : table.conventions) add(v.fpr[c]);
    rows.push_back(std::move(cells));
  };
  for (const eval_set& s : table.sets)
    row(escape(s.name), std::to_string(s.report.n_id), std::to_string(s.report.n_ood), s.report.values);
  row("mean", "", "", mean(table));
  return rows;
}

/// Remarks below a table, unescaped: missing values, degenerate scores, ties, ID accuracy.
inline std::vector<std::string> notes(const eval_table& table) {
  std::vector<std::string> out{"All values in per cent."};
  for (const eval_set& s : table.sets) {
    if (!s.report.values) out.push_back(s.name + ": no values, " + s.report.reason + ".");
    if (s.report.degenerate) out.push_back(s.name + ": degenerate, all scores are equal.");
    if (s.report.tied_pairs > 0)
      out.push_back(s.name + ": " + std::to_string(s.report.tied_pairs) +
                    " pairs of equal ID and OOD scores, counted half.");
  }
  if (table.id_accuracy) out.push_back("ID accuracy: " + text::fixed(100 * *table.id_accuracy, 2) + ".");
  return out;
}

}  // namespace detail

/// One JSON object: {"sets":[{"name","n_id","n_ood","auroc",…,"fpr95":{…},"ties","degenerate"}],"mean":{…},"ties",…}.
/// Fractions with 17 significant digits; null with a "reason" where a set is empty. `ties` counts pairs (ID, OOD).
inline std::string eval_json(const eval_table& table) {
  const std::string key = detail::fpr_key(table);
  std::string out = "{\"sets\":[";
  index_type ties = 0;
  for (std::size_t i = 0; i < table.sets.size(); ++i) {
    const auto& [name, r] = table.sets[i];
    ties += r.tied_pairs;
    out += (i == 0 ? "{\"name\":" : ",{\"name\":") + text::json_string(name) + ",\"n_id\":" + std::to_string(r.n_id) +
           ",\"n_ood\":" + std::to_string(r.n_ood) + ',' + detail::json_values(r.values, key) +
           ",\"ties\":" + std::to_string(r.tied_pairs) + ",\"degenerate\":" + (r.degenerate ? "true" : "false");
    if (!r.values) out += ",\"reason\":" + text::json_string(r.reason);
    out += '}';
  }
  const auto average = mean(table);
  out += "],\"mean\":{" + detail::json_values(average, key);
  if (!average) out += ",\"reason\":" + text::json_string(detail::missing_reason(table));
  out += "},\"ties\":" + std::to_string(ties);
  if (table.id_accuracy) out += ",\"id_accuracy\":" + text::significant(*table.id_accuracy);
  const fpr_convention first = table.conventions.empty() ? fpr_conventions.front() : table.conventions.front();
  out += ",\"aupr_default\":\"step\",\"convention_default\":\"" + std::string(to_string(first)) + "\"}";
  return out;
}

/// One line a set and one for the mean; fractions with 17 significant digits, all conventions, empty fields for no
/// value.
inline std::string eval_csv(const eval_table& table) {
  std::string out = "set,n_id,n_ood";
  for (const detail::named_value& v : detail::named_values) out += ',' + std::string(v.name);
  for (const fpr_convention c : fpr_conventions) out += ',' + detail::fpr_key(table) + '_' + std::string(to_string(c));
  out += ",ties\n";
  const auto values = [&](const std::optional<metric_values>& m) {
    for (const detail::named_value& v : detail::named_values) out += ',' + (m ? text::significant((*m).*v.member) : "");
    for (const fpr_convention c : fpr_conventions) out += ',' + (m ? text::significant(m->fpr[c]) : "");
  };
  for (const eval_set& s : table.sets) {
    out += text::escape_csv(s.name) + ',' + std::to_string(s.report.n_id) + ',' + std::to_string(s.report.n_ood);
    values(s.report.values);
    out += ',' + std::to_string(s.report.tied_pairs) + '\n';
  }
  out += "mean,,";
  values(mean(table));
  return out + ",\n";
}

inline std::string eval_markdown(const eval_table& table) {
  const auto rows = detail::percent_rows(table, text::escape_markdown);
  std::string out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const std::string& cell : rows[i]) out += "| " + cell + ' ';
    out += "|\n";
    if (i > 0) continue;
    for (std::size_t c = 0; c < rows[0].size(); ++c) out += c == 0 ? "|---" : "|---:";
    out += "|\n";
  }
  for (const std::string& note : detail::notes(table)) out += '\n' + text::escape_markdown(note) + '\n';
  return out;
}

inline std::string eval_latex(const eval_table& table) {
  const auto rows = detail::percent_rows(table, text::escape_latex);
  std::string out = "\\begin{tabular}{l" + std::string(rows[0].size() - 1, 'r') + "}\n\\hline\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t c = 0; c < rows[i].size(); ++c) out += (c == 0 ? "" : " & ") + rows[i][c];
    out += " \\\\\n";
    if (i == 0 || i + 2 == rows.size()) out += "\\hline\n";
  }
  out += "\\hline\n\\end{tabular}\n";
  for (const std::string& note : detail::notes(table)) out += "\\par " + text::escape_latex(note) + '\n';
  return out;
}

inline std::string eval_html(const eval_table& table) {
  const auto rows = detail::percent_rows(table, text::escape_html);
  std::string out = "<table class=\"negood-eval\">\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string tag = i == 0 ? "th" : "td";
    out += "<tr>";
    for (const std::string& cell : rows[i]) out += '<' + tag + '>' + cell + "</" + tag + '>';
    out += "</tr>\n";
  }
  out += "</table>\n";
  for (const std::string& note : detail::notes(table)) out += "<p>" + text::escape_html(note) + "</p>\n";
  return out;
}

/// Aligned columns for a terminal. Widths count characters, so wide scripts may stand a little out of line.
inline std::string eval_text(const eval_table& table) {
  const auto rows = detail::percent_rows(table, text::escape_terminal);
  const auto width_of = [](const std::string& s) {
    std::size_t n = 0;
    for (const char c : s) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    return n;
  };
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width_of(row[c]), ' ');
      out += c == 0 ? row[c] + pad : "  " + pad + row[c];
    }
    out += '\n';
  }
  for (const std::string& note : detail::notes(table)) out += text::escape_terminal(note) + '\n';
  return out;
}

}  // namespace negood
