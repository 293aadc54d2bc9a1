// The evaluation table in every format: keys and digits of the JSON, named conventions, names made safe.
#include "catch.hpp"

#include <negood/metric/report.hpp>

#include <clocale>
#include <cstdlib>

using namespace negood;
using Catch::Contains;

namespace {

eval_table small_table() {
  const std::vector<double> id{1, 2, 3, 4, 5}, near{0, 1, 2.5}, far{-1, -2};
  return {.sets = {{"near", evaluate(id, near)}, {"far", evaluate(id, far)}}};
}

/// The number after `"key":` behind position `from`.
double number_after(const std::string& json, const std::string& key, std::size_t from = 0) {
  const std::size_t at = json.find('"' + key + "\":", from);
  REQUIRE(at != std::string::npos);
  double value = 0;
  const char* first = json.data() + at + key.size() + 3;
  REQUIRE(std::from_chars(first, json.data() + json.size(), value).ec == std::errc{});
  return value;
}

const std::string evil = "=cmd|' /C calc'!A0</script><b>\\input{x}\x1b[2J\xE2\x80\xAE\"end,;|\xFF";

}  // namespace

TEST_CASE("the evaluation's JSON has the contract's keys and gives the doubles back", "[metric][report]") {
  eval_table table = small_table();
  table.id_accuracy = 2.0 / 3.0;
  const std::string json = eval_json(table);
  CHECK(json.rfind("{\"sets\":[{\"name\":\"near\",\"n_id\":5,\"n_ood\":3,\"auroc\":", 0) == 0);
  for (const char* key : {"\"aupr_in\":", "\"aupr_out\":", "\"aupr_in_trapezoid\":", "\"aupr_in_step\":",
                          "\"aupr_out_trapezoid\":", "\"aupr_out_step\":", "\"fpr95\":{\"id_positive_nearest\":",
                          "\"id_positive_first\":", "\"ood_positive_first\":", "\"mean\":{\"auroc\":", "\"ties\":1"})
    CHECK_THAT(json, Contains(key));
  CHECK_THAT(json, Contains("\"convention_default\":\"id_positive_nearest\"}"));
  CHECK(number_after(json, "auroc") == table.sets[0].report.values->auroc);
  CHECK(number_after(json, "aupr_in_trapezoid") == table.sets[0].report.values->aupr_in_trapezoid);
  CHECK(number_after(json, "ood_positive_first", json.find("\"far\"")) ==
        table.sets[1].report.values->fpr.ood_positive_first);
  CHECK(number_after(json, "aupr_out_step", json.find("\"mean\"")) == mean(table)->aupr_out_step);
  CHECK(number_after(json, "id_accuracy") == 2.0 / 3.0);
  CHECK(json.find('\n') == std::string::npos);
}

TEST_CASE("F-10: a set without scores is null with its reason, and so is the mean", "[metric][report][faults]") {
  const std::vector<double> id{1, 2}, none;
  eval_table table{.sets = {{"ok", evaluate(id, id)}, {"nothing", evaluate(id, none)}}};
  const std::string json = eval_json(table);
  CHECK_THAT(json, Contains("\"name\":\"nothing\",\"n_id\":2,\"n_ood\":0,\"auroc\":null"));
  CHECK_THAT(json, Contains("\"reason\":\"the OOD set is empty\""));
  CHECK_THAT(json, Contains("\"mean\":{\"auroc\":null"));
  CHECK_THAT(json, Contains("\"reason\":\"nothing: the OOD set is empty\""));
  CHECK_THAT(eval_csv(table), Contains("nothing,2,0,,,"));
  CHECK_THAT(eval_text(table), Contains("n/a"));
  CHECK_THAT(eval_markdown(table), Contains("the OOD set is empty"));
  CHECK_THAT(eval_json({}), Contains("\"sets\":[],\"mean\":{\"auroc\":null"));
}

TEST_CASE("F-11: degenerate scores are flagged in every format", "[metric][report][faults]") {
  const std::vector<float> same(4, 1.0F);
  const eval_table table{.sets = {{"same", evaluate(same, same)}}};
  CHECK_THAT(eval_json(table),
             Contains("\"auroc\":0.5,") && Contains("\"id_positive_nearest\":1,") && Contains("\"degenerate\":true"));
  CHECK_THAT(eval_text(table), Contains("degenerate"));
  CHECK_THAT(eval_markdown(table), Contains("degenerate"));
  CHECK_THAT(eval_latex(table), Contains("degenerate"));
  CHECK_THAT(eval_html(table), Contains("degenerate"));
}

TEST_CASE("tables name their conventions and print per cent", "[metric][report]") {
  eval_table table = small_table();
  CHECK_THAT(eval_markdown(table), Contains("| OOD set | ID | OOD | AUROC |") &&
                                       Contains("FPR95 \\(ID positive, nearest\\)") && Contains("| mean |") &&
                                       Contains("| far | 5 | 2 | 100.00 |"));
  table.conventions = {fpr_conventions.begin(), fpr_conventions.end()};
  for (const std::string& text : {eval_text(table), eval_latex(table), eval_html(table)})
    for (const fpr_convention c : fpr_conventions) CHECK_THAT(text, Contains("FPR95 (" + std::string(title(c)) + ")"));
  CHECK_THAT(eval_latex(table), Contains("\\begin{tabular}{lrrrrrrrr}") && Contains("far & 5 & 2 & 100.00 & "));
  CHECK_THAT(eval_csv(table), Contains("fpr95_ood_positive_first,ties\n"));
  table.sets[0].report.recall = 0.995;
  CHECK_THAT(eval_text(table), Contains("FPR99.5 ("));
}

TEST_CASE("F-15, F-16: names are escaped for where they are printed", "[metric][report][faults]") {
  const std::vector<double> id{1, 2}, ood{0};
  const eval_table table{.sets = {{evil, evaluate(id, ood)}}};
  CHECK_THAT(eval_html(table), !Contains("</script>") && !Contains("<b>") && !Contains("\x1b") &&
                                   !Contains("\xE2\x80\xAE") && Contains("&lt;/script&gt;"));
  CHECK_THAT(eval_latex(table), !Contains("\\input") && Contains("\\textbackslash{}input\\{x\\}"));
  CHECK_THAT(eval_csv(table), Contains("\n\"'=cmd|") && Contains("\"\"end,;|\\x{ff}\"") && !Contains("\x1b"));
  CHECK_THAT(eval_text(table), !Contains("\x1b") && Contains("\\u{001b}[2J\\u{202e}") && Contains("\\x{ff}"));
  CHECK_THAT(eval_markdown(table), Contains("\\|") && !Contains("<b>"));
  CHECK_THAT(eval_json(table),
             Contains("\\u003c/script\\u003e") && Contains("\\u001b[2J\\u202e\\\"end") && Contains("\\ufffd\""));
}

TEST_CASE("escapes keep what is harmless and show what is not", "[text]") {
  const std::string plain = "Käse, 猫 no. 5";
  CHECK(text::escape_terminal(plain) == plain);
  CHECK(text::escape_html(plain) == plain);
  CHECK(text::escape_latex(plain) == plain);
  CHECK(text::json_string(plain) == '"' + plain + '"');
  CHECK(text::escape_csv(plain) == '"' + plain + '"');
  CHECK(text::escape_csv("plain name") == "plain name");
  for (const char* formula : {"=1", "+1", "-1", "@x", "  =1"}) CHECK_THAT(text::escape_csv(formula), Contains("'"));
  CHECK(text::escape_csv("\t=1") == "\\u{0009}=1");
  CHECK(text::escape_terminal("a\\b\nc") == "a\\\\b\\u{000a}c");
  // Not UTF-8: overlong, surrogate, beyond the last code point, cut short.
  CHECK(text::escape_terminal("\xC0\xAF") == "\\x{c0}\\x{af}");
  CHECK(text::escape_terminal("\xED\xA0\x80") == "\\x{ed}\\x{a0}\\x{80}");
  CHECK(text::escape_terminal("\xF5\x80\x80\x80") == "\\x{f5}\\x{80}\\x{80}\\x{80}");
  CHECK(text::escape_terminal("\xE7\x8C") == "\\x{e7}\\x{8c}");
  CHECK(text::escape_terminal("\xF3\xA0\x80\xA1") == "\\u{e0021}");
  CHECK(text::json_string("\xF3\xA0\x80\xA1") == "\"\\udb40\\udc21\"");
  CHECK(text::json_string(std::string_view("a\0b", 3)) == "\"a\\u0000b\"");
  CHECK(text::escape_latex("50% of $x_1^2 ~ #{}&\"<>") ==
        "50\\% of \\$x\\_1\\textasciicircum{}2 \\textasciitilde{} "
        "\\#\\{\\}\\&\\textquotedbl{}\\textless{}\\textgreater{}");
}

TEST_CASE("F-47: numbers are written with a point in every locale", "[text][faults]") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  const bool comma = std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr;
  const std::string digits = text::significant(0.1), per_cent = text::fixed(97.125, 2), json = eval_json(small_table());
  std::setlocale(LC_ALL, before.c_str());
  if (!comma) WARN("no de_DE locale: only the C locale was tested");
  CHECK(digits == "0.10000000000000001");
  CHECK(per_cent == "97.12");
  CHECK(json == eval_json(small_table()));
  CHECK(text::fixed(1e308, 1).size() == 311);
}
