// Checkpoints of feature maps: to the bit, of the right run, and never half of one.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/backend/reference.hpp>
#include <negood/feature/fit_krnft.hpp>
#include <negood/io/feature_checkpoint.hpp>

using namespace negood;
namespace {

using io_test::code_of;
using backend = reference::context<double>;

host_matrix<double> unit_rows(index_type rows, std::uint64_t index) {
  host_matrix<double> out(rows, 8);
  random_sequence draw(3, random_purpose::test, index);
  for (auto& v : out.values()) v = draw.next_normal();
  backend ctx;
  return ctx.to_host(normalise_rows(ctx, out).unit);
}

}  // namespace

TEST_CASE("a run of a feature map stopped and resumed from its file is the uninterrupted run, byte by byte") {
  const io_test::scratch_folder folder;
  const auto path = folder / "c";
  const krnft_texts<double> texts{unit_rows(3, 1), unit_rows(9, 2), {}, 20};
  const krnft_training_data<double> data{unit_rows(12, 3), unit_rows(12, 4), {0, 1, 2, 0}};
  for (const auto& model : {feature_models::kr_nft, feature_models::nft, feature_models::task_res}) {
    krnft_options o;
    o.model = model;
    o.hidden = 3;
    o.groups = 2;
    o.steps = 9;
    o.learning_rate = 0.01;
    backend ctx;
    const auto whole = fit_krnft(ctx, texts, data, o);
    krnft_hooks<double> hooks;
    int asked = 0;
    hooks.stop = [&] { return ++asked == 5; };
    hooks.on_checkpoint = [&](const krnft_checkpoint<double>& c) { save_checkpoint(c, path, "run"); };
    hooks.checkpoint_every = 2;
    CHECK(code_of([&] { fit_krnft(ctx, texts, data, o, {}, hooks); }) == "negood.train.2");
    const auto form = initial_feature_parameters<double>(
        model, 8, 3, model.parts() == 2 ? std::vector<index_type>{3, 9} : std::vector<index_type>{12});
    krnft_start<double> start;
    start.resume = load_checkpoint<double>(form, path, "run");
    REQUIRE(start.resume);
    CHECK(start.resume->step == 5);
    CHECK(fit_krnft(ctx, texts, data, o, start).features.parameters == whole.features.parameters);

    CHECK(code_of([&] { load_checkpoint<double>(form, path, "another"); }) == "negood.checkpoint.1");
    CHECK(code_of([&] { load_checkpoint<float>(cast_parameters<float>(form), path, "run"); }) == "negood.checkpoint.1");
    const auto other = initial_feature_parameters<double>(feature_models::ssf, 8, 3);
    if (model == feature_models::task_res)
      CHECK(code_of([&] { load_checkpoint<double>(other, path, "run"); }) == "negood.checkpoint.3");
    // The newest is cut short: the one before it is taken, and said.
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    std::string note;
    const auto before = load_checkpoint<double>(form, path, "run", &note);
    REQUIRE(before);
    CHECK(before->step == 4);
    CHECK_FALSE(note.empty());
    start.resume = before;
    CHECK(fit_krnft(ctx, texts, data, o, start).features.parameters == whole.features.parameters);
    std::filesystem::resize_file(previous_checkpoint(path), 100);
    CHECK(code_of([&] { load_checkpoint<double>(form, path, "run"); }) == "negood.checkpoint.3");
    remove_checkpoints(path);
    CHECK_FALSE(load_checkpoint<double>(form, path, "run"));
  }
}

TEST_CASE("a feature checkpoint with a changed number is damaged") {
  const io_test::scratch_folder folder;
  const auto path = folder / "c";
  const auto form = initial_feature_parameters<double>(feature_models::nft, 4, 0);
  krnft_checkpoint<double> c{3, form, {}, {}};
  for (const auto& part : form.parts)
    for_each_tensor(part, [&](const char*, const host_matrix<double>& m) {
      c.first.push_back(m);
      c.second.push_back(m);
    });
  save_checkpoint(c, path, "r");
  CHECK(load_checkpoint<double>(form, path, "r")->step == 3);
  auto bytes = read_file(path, 1 << 20);
  bytes.back() ^= 1;
  write_file(path, byte_view(bytes));
  CHECK(code_of([&] { load_checkpoint<double>(form, path, "r"); }) == "negood.checkpoint.3");
}
