// The demonstration's report, from a made-up result: what is written down is right, harmless and whole.
#include "catch.hpp"

// The program is no library; its report is six files without a main.
#include "../../examples/cli/demo_findings.cpp"
#include "../../examples/cli/report_html.cpp"
#include "../../examples/cli/report_json.cpp"
#include "../../examples/cli/report_study.cpp"
#include "../../examples/cli/report_svg.cpp"
#include "../../examples/cli/report_tuning.cpp"

#include <negood/train/random.hpp>

#include <cstdlib>
#include <limits>

namespace demo = negood::demo;
namespace svg = negood::demo::svg;

namespace {

constexpr const char* hostile = "<script>alert('x')</script>\"&\xE2\x80\xAE";

/// Scores of `n` images around `centre`, coarse enough to have ties.
std::vector<double> scores(std::uint64_t seed, int n, double centre) {
  std::vector<double> out;
  for (int i = 0; i < n; ++i)
    out.push_back(std::round(40 * (centre + negood::normal(seed, negood::random_purpose::demonstration,
                                                           static_cast<std::uint64_t>(i)))) /
                  40);
  return out;
}

demo::method_run run_of(std::uint64_t seed, std::vector<double> centres, bool trained, double cosine) {
  demo::method_run run;
  run.seed = seed;
  run.id_accuracy = 0.5 + 0.01 * static_cast<double>(seed);
  run.threshold = -0.5;
  run.id_recall = 0.94;
  run.seconds = 1.5;
  run.mean_cosine = cosine;
  for (std::size_t k = 0; k < centres.size(); ++k)
    run.scores.push_back(scores(seed * 10 + k, k == 0 ? 80 : 50, centres[k]));
  for (std::size_t k = 1; k < run.scores.size(); ++k)
    run.metrics.push_back(
        negood::evaluate(std::span<const double>(run.scores[0]), std::span<const double>(run.scores[k])));
  if (trained)
    for (int i = 0; i < 30; ++i) {
      negood::trace_row row;
      row.stage = 2;
      row.step = i;
      row.steps = 30;
      row.loss = row.nis = 2 + 1.0 / (i + 1);
      row.npd = -0.9;
      row.nnd = row.mean_cosine = cosine;
      run.trace.push_back(row);
    }
  return run;
}

demo::demo_result made_up() {
  demo::demo_result r;
  r.model_fingerprint = "abc";
  r.created_by = "negood test";
  r.date = "2000-01-01";
  r.id_names = {"shirt", hostile};
  r.near_names = {"shoe"};
  r.seeds = {1, 2, 3};
  r.few_shot_rows = {50001, 50007};
  r.held_back = "rows 50000 to 59999";
  r.sets = {{"id", "ID images", false, 80},
            {"near: a", "near", true, 50},
            {hostile, "far one", false, 50},
            {"far: b", "far two", false, 50}};
  r.options = {{"noise", "0.001"}};
  const auto add = [&](const char* name, const char* title, std::vector<double> centres, bool learned, double cosine) {
    demo::method_result m{name, title, "made up", learned, {}};
    for (const std::uint64_t seed : {1, 2, 3}) {
      m.runs.push_back(run_of(seed, centres, learned, cosine));
      if (seed != 1) m.runs.back().scores.clear();
    }
    r.methods.push_back(std::move(m));
  };
  add("mcm", "MCM", {0, 1, 1, -0.2}, false, 0);
  add("energy", "Energy", {0, -1, -1, -1}, false, 0);
  add("coop", "CoOp + MCM", {0, -1, -1, -1}, true, 0);
  add("negprompt", "NegPrompt", {0, -3, -3, -3}, true, 0.9999);
  for (const auto& set : r.sets) {
    for (const char* prompt : {"positive", "negative"})
      r.similarities.push_back({set.name, prompt, {0.1, 0.2, set.name == "id" ? 0.1 : 0.9}});
    r.map.push_back({0.1, 0.2, set.name, "x"});
    demo::example_decision d{negood::image(5, 4), set.name, hostile, "shirt", 0.25, set.name != "id"};
    r.examples.push_back(d);
  }
  r.map.push_back({-0.1, 0.3, "positive text", hostile});
  r.map.push_back({-0.1, 0.3, "negative text", "not shirt"});
  r.streams.push_back(
      {r.sets[1].name, 100, 40, 10, 30, {50, 100}, {4, 10}, {0.2, 0.25}, {std::nan(""), 0.75}, {0.5, 0.9}});
  for (const std::uint64_t order : {1, 2}) {
    demo::stream_outcome o{"order", "guarded <b>", "near", 1, order, 100, 50, 40, 10, 10};
    o.auroc = order == 1 ? 0.9 : 0.8;
    o.id_recall = 0.95;
    r.study.push_back(o);
    o.setting = "without memory";
    o.auroc = 0.875;
    o.inverted = o.admitted = 0;
    r.study.push_back(o);
  }
  const char* maps[] = {"nothing learned (NegLabel)", "scale and shift (SSF)", "and L_kr (KR-NFT)", "other <b>"};
  for (const auto seed : r.seeds)
    for (int k = 0; k < 4; ++k)
      for (const char* protocol : {"trained classes", "unseen classes"})
        for (const char* set : {"near", "far"}) {
          demo::tuning_outcome o{"parts", maps[k], protocol, set, seed};
          o.auroc = 0.8 + 0.03 * k + 0.001 * static_cast<double>(seed);
          o.fpr_id_positive = protocol == std::string("trained classes") ? 0.2 : 0.3;
          o.fpr_ood_positive = 0.4;
          r.tuning.push_back(o);
          o.study = "lambda2";
          o.value = k == 0 ? 0 : std::pow(10.0, k);
          o.setting = k == 0 ? "0" : "1" + std::string(static_cast<std::size_t>(k), '0');
          r.tuning.push_back(o);
        }
  r.runaway.push_back({0, 1, {0, 1, 2}, {-0.5, -5, -50}, {0, 0.5, std::nan("")}, {0, 1, 2.5}});
  r.runaway.push_back({100, 1, {0, 1, 2}, {-0.5, -0.6, -0.75}, {0, 0.001, 0.002}, {0, 0.01, 0.02}});
  r.examples_method = "NegPrompt";
  r.mined_words = {"oak", hostile};
  return r;
}

/// Every element that is opened is closed, in order. Returns what is wrong, nothing if all is well.
std::string unbalanced(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t at = html.find("<html"); (at = html.find('<', at)) != std::string::npos; ++at) {
    const auto end = html.find('>', at);
    if (end == std::string::npos) return "a tag without an end";
    const std::string inside = html.substr(at + 1, end - at - 1);
    const std::string name = inside.substr(0, inside.find_first_of(" />", inside[0] == '/' ? 1 : 0));
    if (inside[0] == '/') {
      if (open.empty() || "/" + open.back() != name)
        return name + " closes " + (open.empty() ? "nothing" : open.back());
      open.pop_back();
    } else if (inside.back() != '/' && name != "meta" && name != "img" && name != "br") {
      open.push_back(name);
    }
    at = end;
  }
  return open.empty() ? "" : open.back() + " stays open";
}

double area_under(const std::vector<svg::point>& line) {
  double area = 0;
  for (std::size_t i = 1; i < line.size(); ++i) area += (line[i].x - line[i - 1].x) * (line[i].y + line[i - 1].y) / 2;
  return area;
}

bool mentions(const std::vector<std::string>& findings, const std::string& text) {
  return std::ranges::any_of(findings, [&](const auto& f) { return f.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("the report and results.json show how InterNeg's memory fared; what could not be measured is null") {
  auto r = made_up();
  const auto j = nlohmann::json::parse(demo::results_json(r));
  REQUIRE(j["streams"].size() == 1);
  CHECK(j["streams"][0]["admitted"] == 10);
  CHECK(j["streams"][0]["memory"][1] == 10.0);
  CHECK(j["streams"][0]["auroc_so_far"][0].is_null());
  CHECK(j["streams"][0]["auroc_so_far"][1] == 0.75);
  auto page = demo::report_html(r);
  CHECK(page.find("InterNeg at test time") != std::string::npos);
  CHECK(page.find("100 images, 40 inverted, 10 entered") != std::string::npos);
  CHECK(unbalanced(page) == "");
  r.streams.clear();
  CHECK(demo::report_html(r).find("InterNeg at test time") == std::string::npos);
}

TEST_CASE("the study of memories: means, spreads, the best of a column, and nothing where nothing was inverted") {
  auto r = made_up();
  auto page = demo::report_html(r);
  CHECK(page.find("guarded &lt;b&gt;") != std::string::npos);
  CHECK(page.find("<td>85.0 ± 7.1</td>") != std::string::npos);
  CHECK(page.find("<td><b>87.5</b></td>") != std::string::npos);
  CHECK(page.find("<td>25.0</td>") != std::string::npos);  // 10 of 40 entered
  CHECK(page.find("<td>–</td>") != std::string::npos);     // nothing was inverted without memory
  CHECK(unbalanced(page) == "");
  const auto j = nlohmann::json::parse(demo::results_json(r));
  REQUIRE(j["stream_study"].size() == 4);
  CHECK(j["stream_study"][0]["auroc"] == 0.9);
  CHECK(j["stream_study"][0]["fpr95"].contains("ood_positive_first"));
  demo::fill_findings(r);
  CHECK(
      std::ranges::any_of(r.findings, [](const std::string& f) { return f.find("7.07 points") != std::string::npos; }));
  r.study.clear();
  CHECK(demo::report_html(r).find("A study of InterNeg") == std::string::npos);
}

TEST_CASE("the study of KR-NFT: tables, plots, sentences and JSON of one set of numbers") {
  auto r = made_up();
  auto page = demo::report_html(r);
  CHECK(page.find("KR-NFT: what each part does") != std::string::npos);
  CHECK(page.find("other &lt;b&gt;") != std::string::npos);
  CHECK(page.find("<td><b>89.2 ± 0.1</b></td>") != std::string::npos);  // the last map, 80 + 9 + (0.1, 0.2, 0.3)
  CHECK(page.find("<td>80.2 ± 0.1</td>") != std::string::npos);
  CHECK(page.find("<td><b>24.0</b></td>") != std::string::npos);  // harmonic mean of 20 and 30
  CHECK(page.find("L_n has no lower bound") != std::string::npos);
  CHECK(unbalanced(page) == "");
  demo::fill_findings(r);
  CHECK(mentions(r.findings,
                 "KR-NFT, scale and shift against nothing learned. Change of AUROC, seed by seed; trained "
                 "classes: near helps (+3.0"));
  CHECK(mentions(r.findings, "other <b>: 20.0 %, 30.0 %, H 24.0 %"));
  CHECK(mentions(r.findings, "lambda_2 = 1000 has the highest AUROC"));
  CHECK(mentions(r.findings, "without L_kr. It goes from -0.50 to -50.00"));
  CHECK(mentions(r.findings, "with L_kr. It goes from -0.50 to -0.75, L_kr ends at 0.00, the largest"));
  const auto j = nlohmann::json::parse(demo::results_json(r));
  REQUIRE(j["tuning_study"].size() == r.tuning.size());
  CHECK(j["tuning_study"][0]["lambda2"].is_null());
  CHECK(j["tuning_study"][0]["fpr95"]["ood_positive_first"] == 0.4);
  CHECK(j["runaway"][0]["knowledge"][2].is_null());
  CHECK(j["runaway"][1]["lambda2"] == 100.0);
  r.tuning.clear();
  CHECK(demo::report_html(r).find("KR-NFT: what") == std::string::npos);
}

TEST_CASE("demo report: the area under the drawn ROC curve is the AUROC, ties and all", "[cli]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto id = scores(seed, 137, 0.5), ood = scores(seed + 100, 61, 0);
    const auto exact = *negood::auroc(std::span<const double>(id), std::span<const double>(ood));
    const auto line = svg::roc(id, ood);
    CHECK(line.front().x == 0);
    CHECK(line.back().x == 1);
    CHECK(line.back().y == 1);
    CHECK(area_under(line) == Approx(exact).epsilon(1e-12));
    const auto thinned = svg::thin(line, 0.01);
    CHECK(thinned.size() < line.size());
    CHECK(area_under(thinned) == Approx(exact).margin(0.01));
  }
  const std::vector<double> same{1, 1, 1};
  CHECK(svg::roc(same, same).size() == 2);  // one slanted step
}

TEST_CASE("demo report: histograms lose no image and ticks are round", "[cli]") {
  const std::vector<double> values{-5, 0, 0.1, 0.5, 0.99, 1, 7};
  const auto shares = svg::histogram(values, 0, 1, 4);
  double sum = 0;
  for (const double v : shares) sum += v;
  CHECK(sum == Approx(1).epsilon(1e-14));
  CHECK(shares[0] == Approx(3.0 / 7));
  CHECK(shares[3] == Approx(3.0 / 7));
  const auto ticks = svg::ticks(0.13, 0.91, 4);
  CHECK(ticks.front() == Approx(0.2));
  CHECK(ticks.back() == Approx(0.8));
  CHECK(svg::ticks(1, 1, 4).size() == 1);
}

TEST_CASE("demo findings: a difference is clear where it exceeds its spread over the seeds", "[cli]") {
  const std::vector<double> a{0.90, 0.92, 0.94}, b{0.80, 0.82, 0.84}, c{0.97, 0.89, 0.93}, one{0.85};
  CHECK(demo::compare(a, b).outcome == demo::verdict::higher);
  CHECK(demo::compare(b, a).outcome == demo::verdict::lower);
  CHECK(demo::compare(a, b).difference.sd == Approx(0).margin(1e-15));  // seed by seed
  CHECK(demo::compare(a, c).outcome == demo::verdict::unclear);
  CHECK(demo::compare(a, one).outcome == demo::verdict::higher);
  CHECK(demo::compare(one, std::vector<double>{0.8502}).outcome == demo::verdict::unclear);  // below a table's digits
  CHECK(demo::summarise(a).sd == Approx(0.02));
  CHECK(demo::summarise(std::vector<double>{0.1, 0.1, 0.1}).sd == 0);
  CHECK(demo::percent(demo::summarise(a)) == "92.0 \u00b1 2.0");
  CHECK(demo::percent({}) == "n/a");
}

TEST_CASE("demo findings: sentences follow the numbers either way", "[cli]") {
  auto r = made_up();
  demo::fill_findings(r);
  CHECK(mentions(r.findings, "NegPrompt against CoOp + MCM: helps."));
  CHECK(mentions(r.findings, "CoOp + MCM against MCM: helps"));
  CHECK(mentions(r.findings, "NegPrompt: the negatives of a class ended nearly identical. In 3 of 3 seeds"));
  CHECK(mentions(r.findings, "MCM: AUROC below 50 % on 2 of 3 OOD sets."));
  CHECK_FALSE(mentions(r.findings, "Energy: AUROC below 50 %"));
  CHECK(demo::headline(r).find("NegPrompt helps") != std::string::npos);

  for (auto& m : r.methods)
    if (m.name == "coop" || m.name == "negprompt") {
      std::swap(m.name, m.title);
      m.name = m.title == "coop" ? "negprompt" : "coop";
      m.title = m.name;
    }
  const auto before = r.findings.size();
  demo::fill_findings(r);
  CHECK(mentions(r.findings, "negprompt against coop: does not help."));
  CHECK(demo::headline(r).find("NegPrompt does not help") != std::string::npos);
  CHECK(r.findings.size() <= before + 1);  // filled anew, not appended

  auto equal = made_up();
  equal.methods[3].runs = equal.methods[2].runs;
  demo::fill_findings(equal);
  CHECK(mentions(equal.findings, "NegPrompt against CoOp + MCM: makes no clear difference."));
}

TEST_CASE("demo report: results.json holds the protocol, every metric and no NaN", "[cli]") {
  auto r = made_up();
  r.methods[0].runs[0].threshold = std::numeric_limits<double>::quiet_NaN();
  r.methods[0].runs[1].threshold = -std::numeric_limits<double>::infinity();
  r.methods[1].runs[2].metrics[1] = {};  // a set without values
  r.methods[1].runs[2].metrics[1].reason = "the OOD set is empty";
  demo::fill_findings(r);
  const std::string text = demo::results_json(r);
  const auto json = negood::parse_json(text);
  CHECK(json["format"] == "negood.demo/1");
  CHECK(json["protocol"]["seeds"] == negood::json({1, 2, 3}));
  CHECK(json["protocol"]["sets"][1]["kind"] == "near");
  CHECK(json["protocol"]["few_shot_rows"][1] == 50007);
  CHECK(json["methods"].size() == 4);
  CHECK(json["methods"][0]["runs"][0]["threshold"].is_null());
  const auto& run = json["methods"][3]["runs"][0];
  const auto& values = *r.methods[3].runs[0].metrics[0].values;
  CHECK(run["eval"]["sets"][0]["auroc"].get<double>() == values.auroc);
  CHECK(run["eval"]["sets"][0]["fpr95"]["ood_positive_first"].get<double>() == values.fpr.ood_positive_first);
  CHECK(run["eval"]["convention_default"] == "id_positive_nearest");
  CHECK(run["final_losses"]["nis"].get<double>() == r.methods[3].runs[0].trace.back().nis);
  CHECK(run["mean_cosine"].get<double>() == 0.9999);
  CHECK(json["methods"][0]["runs"][0]["mean_cosine"].is_null());
  double sum = 0, squares = 0;
  for (const auto& one : r.methods[3].runs) sum += one.metrics[2].values->auroc / 3;
  for (const auto& one : r.methods[3].runs) squares += std::pow(one.metrics[2].values->auroc - sum, 2);
  const auto& summary = json["methods"][3]["summary"]["sets"][2];
  CHECK(summary["auroc"]["mean"].get<double>() == Approx(sum).epsilon(1e-14));
  CHECK(summary["auroc"]["sd"].get<double>() == Approx(std::sqrt(squares / 2)).epsilon(1e-12));
  CHECK(json["methods"][1]["summary"]["sets"][1]["auroc"].is_null());
  CHECK(json["methods"][0]["summary"]["seconds"].is_null());
  CHECK(json["findings"].size() == r.findings.size());
}

TEST_CASE("demo report: the page is whole, harmless and stands alone", "[cli]") {
  auto r = made_up();
  demo::fill_findings(r);
  const std::string html = demo::report_html(r);
  CHECK(unbalanced(html) == "");
  CHECK(html.find("<script") == std::string::npos);
  CHECK(html.find("alert('x')") == std::string::npos);
  CHECK(html.find("\xE2\x80\xAE") == std::string::npos);  // a right-to-left override
  CHECK(html.find("&lt;script&gt;") != std::string::npos);
  CHECK(html.find("http:") == std::string::npos);
  CHECK(html.find("https:") == std::string::npos);
  CHECK(html.find("href") == std::string::npos);
  CHECK(html.find("@import") == std::string::npos);
  for (const char* no_number : {">nan", " nan", "nan ", ">inf", "-inf"})
    CHECK(html.find(no_number) == std::string::npos);
  for (std::size_t at = 0; (at = html.find(" src=", at)) != std::string::npos; ++at)
    CHECK(html.substr(at, 27) == " src=\"data:image/png;base64");
  CHECK(html.find("FPR95, per cent (ID positive, nearest)") != std::string::npos);
  CHECK(html.size() < 500000);
  std::size_t last = 0;
  for (const char* title : {"<h1>", "class=\"hd\"", "Results", "did not help, said plainly", "ROC curves",
                            "Scores of known", "Similarity to positive", "Map of images", "Training</h2>",
                            "Example images", "Mined negative words", "Protocol", "How to reproduce"}) {
    const auto at = html.find(title, last);
    CHECK(at != std::string::npos);
    if (at != std::string::npos) last = at;
  }
  CHECK(unbalanced(demo::report_html({})) == "");  // nothing measured is no reason to fall over
  CHECK_NOTHROW(negood::parse_json(demo::results_json({})));
}

TEST_CASE("demo report: the best of a column is bold, in both directions", "[cli]") {
  auto r = made_up();
  const std::string html = demo::report_html(r);
  const auto row = [&](std::size_t from) {
    const auto at = html.find("<th scope=\"row\">NegPrompt</th>", from);
    return html.substr(at, html.find("</tr>", at) - at);
  };
  CHECK(row(0).find("<td><b>") != std::string::npos);
  CHECK(row(html.find("FPR95, per cent")).find("<td><b>") != std::string::npos);
  const auto mcm = html.find("<th scope=\"row\">MCM</th>");
  CHECK(html.substr(mcm, html.find("</tr>", mcm) - mcm).find("\u2020") != std::string::npos);  // below 50 %
}

TEST_CASE("demo report: files are written and the detectors load again", "[cli]") {
  auto r = made_up();
  negood::detector_record d;
  d.method = "mcm";
  d.labels = {"a", "b"};
  d.positive = negood::host_matrix<float>(2, 2, std::vector<float>{1, 0, 0, 1});
  d.negative = negood::host_matrix<float>(0, 2);
  d.threshold = 0.5;
  r.methods[0].runs[0].detector = d;
  const auto out = std::filesystem::temp_directory_path() / "negood-test-demo-report";
  std::filesystem::remove_all(out);
  demo::write_demo(r, out);
  CHECK(std::filesystem::file_size(out / "report.html") == demo::report_html(r).size());
  CHECK(std::filesystem::file_size(out / "results.json") == demo::results_json(r).size());
  const auto back = negood::load_detector_record(out / "detectors" / "mcm.safetensors");
  CHECK(back.labels == d.labels);
  CHECK(back.threshold == d.threshold);
  demo::write_demo(r, out);  // a second time over the first
  std::filesystem::remove_all(out);
  CHECK_THROWS_AS(demo::write_demo(r, "/dev/null/nowhere"), negood::error);
}
