// Feature maps in detectors: the scores of the library, files to the bit, files made by hand, and what is refused.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/io/detector.hpp>
#include <negood/train/random.hpp>

#include <map>

using namespace negood;
namespace {

using io_test::code_of;
using backend = reference::context<double>;
using tensor_list = std::vector<std::pair<std::string, host_matrix<double>>>;

constexpr index_type width = 6, classes = 3, negatives = 7, hidden = 2;
constexpr feature_model models[] = {feature_models::kr_nft, feature_models::nft, feature_models::coft,
                                    feature_models::task_res, feature_models::ssf};

host_matrix<float> unit_rows(index_type rows, std::uint64_t index) {
  host_matrix<float> out(rows, width);
  random_sequence draws(3, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (float& v : out.row(r)) {
      v = static_cast<float>(draws.next_normal());
      n += double(v) * double(v);
    }
    for (float& v : out.row(r)) v = static_cast<float>(double(v) / std::sqrt(n));
  }
  return out;
}

/// A map that changes everything, in the precision of a run.
feature_parameters<float> some_map(const feature_model& model) {
  auto p = initial_feature_parameters<float>(model, width, hidden, labels_of_parts(model, classes, negatives), 5);
  random_sequence draws(4, random_purpose::test, 9);
  for (auto& part : p.parts)
    for_each_tensor(part, [&](const char*, host_matrix<float>& m) {
      for (float& v : m.values()) v += static_cast<float>(0.2 * draws.next_normal());
    });
  return p;
}

detector_record record_of(const feature_model& model, index_type groups = 1) {
  detector_record r;
  r.labels = {"cat", "dog", "ox"};
  r.positive = unit_rows(classes, 1);
  r.negative = unit_rows(negatives, 2);
  r.groups = groups;
  attach_features(r, tuned_features<float>{some_map(model), 30, 5, "abc"});
  return r;
}

/// A file as a hand would write it: required metadata, texts, and the tensors of the map.
safetensors_writer by_hand(const std::string& method) {
  safetensors_writer w;
  w.metadata("format", "negood.detector/1");
  w.metadata("method", method);
  w.metadata("labels", R"(["a","b","c"])");
  w.metadata("logit_scale", "20");
  return w;
}
detector_record parse(const safetensors_writer& w) {
  const auto bytes = w.bytes();
  return parse_detector(safetensors_file::parse(byte_view(bytes)));
}

}  // namespace

TEST_CASE("a detector with a feature map scores, predicts and decides as the library's scorer does") {
  backend ctx;
  const auto images = cast<double>(unit_rows(70, 3));  // more than one block
  for (const auto& model : models)
    for (const index_type groups : {1, 3}) {
      const auto r = record_of(model, groups);
      CHECK(r.method == format_feature_model(model));
      detector<backend> d(ctx, r);
      const auto scorer = tuned_features<double>{cast_parameters<double>(some_map(model)), 30, 5, "abc"}.bind(
          ctx, cast<double>(r.positive).view(), cast<double>(r.negative).view(), {.groups = groups});
      auto unit = images;
      check_features(unit);
      const auto wanted = scorer(ctx, unit.view());
      const auto odds = grouped_log_odds(wanted);
      const auto scores = d.score(images);
      REQUIRE(scores.size() == odds.size());
      double largest = 0;
      for (std::size_t i = 0; i < odds.size(); ++i)
        largest = std::max(largest, std::abs(scores[i] - 1 / (1 + std::exp(-odds[i]))));
      CHECK(largest < 1e-14);
      CHECK(d.predict(images) == wanted.predicted);
      d.record().threshold = scores[3];
      const auto answers = d.decide_all(images);
      CHECK_FALSE(answers[3].is_unknown);
      CHECK(answers[3].label == r.labels[static_cast<std::size_t>(wanted.predicted[3])]);
      CHECK(std::ranges::count_if(answers, [](const answer& a) { return a.is_unknown; }) ==
            std::ranges::count_if(scores, [&](double s) { return s < scores[3]; }));
    }
}

TEST_CASE("a map that changes nothing scores as NegLabel does; without negatives as the largest probability") {
  backend ctx;
  const auto images = cast<double>(unit_rows(20, 3));
  auto plain = record_of(feature_models::ssf);
  plain.tuned.reset();
  plain.method = "neglabel";
  const auto wanted = detector<backend>(ctx, plain).score(images);
  auto same = plain;
  attach_features(
      same, tuned_features<float>{initial_feature_parameters<float>(feature_models::kr_nft, width, hidden), 30, 1, {}});
  const auto scores = detector<backend>(ctx, same).score(images);
  for (std::size_t i = 0; i < scores.size(); ++i) CHECK(scores[i] == Approx(wanted[i]).epsilon(1e-6));
  plain.method = "msp";
  plain.negative = host_matrix<float>(0, width);
  same.negative = plain.negative;
  attach_features(
      same, tuned_features<float>{initial_feature_parameters<float>(feature_models::coft, width, hidden), 30, 1, {}});
  const auto largest = detector<backend>(ctx, plain).score(images), alone = detector<backend>(ctx, same).score(images);
  for (std::size_t i = 0; i < alone.size(); ++i) CHECK(alone[i] == Approx(largest[i]).epsilon(1e-6));
}

TEST_CASE("a feature map is saved and read back to the bit, and scores the same") {
  const io_test::scratch_folder folder;
  backend ctx;
  const auto images = cast<double>(unit_rows(9, 3));
  for (const auto& model : models) {
    auto r = record_of(model, 2);
    // Residuals near the end of what 1 + delta can hold.
    if (model.scales()) r.tuned->parts[0].scale(0, 1) = 0x1p-52, r.tuned->parts[0].scale(0, 2) = -1 + 0x1p-60;
    r.tuned = features_of(r).parameters;
    const auto path = folder / (r.method + ".safetensors"), again = folder / "again.safetensors";
    save(r, path);
    auto got = load_detector_record(path);
    save(got, again);
    const auto bytes = [](const std::filesystem::path& p) {
      const auto file = safetensors_file::read(p);
      std::vector<double> all;
      for (const auto& [name, m] : detail::feature_map_tensors(file))
        all.insert(all.end(), m.values().begin(), m.values().end());
      return all;
    };
    CHECK(bytes(path) == bytes(again));
    CHECK(*got.tuned == *r.tuned);
    CHECK(got.groups == 2);
    auto canonical = record_of(model, 2);  // as trained: what is scored now is what will be read
    save(canonical, path);
    CHECK(detector<backend>(ctx, load_detector_record(path)).score(images) ==
          detector<backend>(ctx, canonical).score(images));
    eigen::context<float> single;
    CHECK(detector<eigen::context<float>>(single, load_detector_record(path)).score(cast<float>(images)) ==
          detector<eigen::context<float>>(single, canonical).score(cast<float>(images)));
  }
}

TEST_CASE("a feature map made by hand loads: vectors of any type and direction, base features of any length") {
  auto w = by_hand("krnft");
  w.add("positive", unit_rows(classes, 1));
  w.add("negative", unit_rows(negatives, 2));
  host_matrix<float> alpha(width, 1);
  for (float& v : alpha.values()) v = 1.25f;
  for (const std::string part : {"pos", "neg"}) {
    w.add(part + ".alpha", alpha);  // [D, 1]
    w.add<float>(part + ".beta", {width}, std::vector<float>(width, 0.5f), scalar_type::f16);
    for (const std::string half : {".scale", ".shift"}) {
      w.add(part + half + ".w1", host_matrix<float>(4, width));
      w.add<float>(part + half + ".b1", {4}, std::vector<float>(4, 1));
      w.add(part + half + ".w2", host_matrix<float>(width, 4));
      w.add<float>(part + half + ".b2", {width}, std::vector<float>(width, 0));
    }
  }
  const auto r = parse(w);
  REQUIRE(r.tuned);
  CHECK(r.tuned->hidden == 4);
  CHECK(r.tuned->parts[1].scale(0, 3) == 0.25);
  CHECK(r.tuned->parts[0].shift(0, 5) == 0.5);
  backend ctx;
  CHECK(std::isfinite(detector<backend>(ctx, r).score(cast<double>(unit_rows(2, 3)))[0]));

  auto t = by_hand("taskres");
  host_matrix<float> base = unit_rows(classes, 1);
  for (float& v : base.values()) v *= 7;
  t.add("positive", base);
  t.add("all.beta", host_matrix<float>(classes, width));
  CHECK(parse(t).positive(0, 0) == base(0, 0));  // as they are
}

TEST_CASE("a feature map of the wrong shape, of another method or not finite is refused by name") {
  const auto whole = record_of(feature_models::kr_nft);
  const auto code_with = [&](const std::string& method, auto&& change) {
    auto w = by_hand(method);
    w.add("positive", whole.positive);
    w.add("negative", whole.negative);
    std::map<std::string, host_matrix<double>> tensors;
    for (const auto& [name, m] : whole.tuned->tensors()) tensors.emplace(name, m);
    change(tensors);
    for (const auto& [name, m] : tensors) w.add(name, m);
    return code_of([&] { parse(w); });
  };
  using tensors = std::map<std::string, host_matrix<double>>;
  CHECK(code_with("krnft", [](tensors&) {}).empty());
  for (const auto& tensor : whole.tuned->tensors()) {
    const std::string& name = tensor.first;  // not a binding: clang 14 captures none
    const auto& m = tensor.second;
    CHECK(code_with("krnft", [&](tensors& t) { t.erase(name); }) == "negood.krnft.3");
    CHECK(code_with("krnft", [&](tensors& t) { t[name] = host_matrix<double>(m.rows() + 1, m.cols()); }) ==
          "negood.krnft.3");
    CHECK(code_with("krnft", [&](tensors& t) { t[name] = host_matrix<double>(0, m.cols()); }) == "negood.krnft.3");
    CHECK(code_with("krnft", [&](tensors& t) { t[name](0, 0) = std::nan(""); }) == "negood.krnft.3");
  }
  CHECK(code_with("krnft", [](tensors& t) { t["all.alpha"] = host_matrix<double>(1, width); }) == "negood.file.4");
  CHECK(code_with("nft", [](tensors&) {}) == "negood.file.4");  // it has no networks
  CHECK(code_with("coft", [](tensors&) {}) == "negood.krnft.3");
  CHECK(code_with("mcm", [](tensors&) {}).empty());  // tensors of no meaning to it
  CHECK(code_with("krnft", [](tensors& t) {
          for (auto& [name, m] : t)
            if (name.ends_with("w1")) m = host_matrix<double>(1000000000, 0);
        }) == "negood.krnft.3");

  auto three = by_hand("krnft");
  three.add("positive", whole.positive);
  three.add("negative", whole.negative);
  three.add<float>("pos.alpha", {1, 1, width}, std::vector<float>(width, 1));
  CHECK(code_of([&] { parse(three); }) == "negood.file.4");
}

TEST_CASE("a record whose map does not belong to it cannot be used") {
  backend ctx;
  const auto code_with = [&](const feature_model& model, auto&& change) {
    auto r = record_of(model);
    change(r);
    return code_of([&] { detector<backend>(ctx, std::move(r)); });
  };
  CHECK(code_with(feature_models::nft, [](detector_record&) {}).empty());
  CHECK(code_with(feature_models::nft, [](detector_record& r) { r.tuned.reset(); }) == "negood.detector.12");
  CHECK(code_with(feature_models::nft, [](detector_record& r) { r.method = "krnft"; }) == "negood.detector.12");
  CHECK(code_with(feature_models::nft, [](detector_record& r) { r.method = "neglabel"; }) == "negood.detector.12");
  CHECK(code_with(feature_models::nft, [](detector_record& r) { r.tuned->width = 5; }) == "negood.detector.12");
  CHECK(code_with(feature_models::nft, [](detector_record& r) { r.tuned->parts.pop_back(); }) == "negood.detector.12");
  CHECK(code_with(feature_models::kr_nft, [](detector_record& r) { r.tuned->hidden = 9; }) == "negood.detector.12");
  CHECK(code_with(feature_models::nft, [](detector_record& r) { r.negative = {}; }) == "negood.detector.6");
  CHECK(code_with(feature_models::task_res, [](detector_record& r) {  // a row for every label
          r.negative = unit_rows(negatives - 1, 2);
        }) == "negood.detector.12");
  CHECK(code_with(feature_models::coft, [](detector_record& r) { r.logit_scale = 0; }) == "negood.detector.8");
  CHECK(code_of([] { features_of(detector_record{}); }) == "negood.file.8");
}
