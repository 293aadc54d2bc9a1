// How often training asks the device for values: every such place waits until all work before it is done.
#include <negood/backend/thrust_cpp.hpp>
#include <negood/prompt/fit_negprompt.hpp>
#include <negood/prompt/invert.hpp>

#include "catch.hpp"
#include "clip/towers.hpp"

using namespace negood;

namespace {

/// Behaves as a device does, and counts what would wait for one.
struct counting_system : thrust_backend::host_system<thrust_backend::cpp_runner> {
  using host_system::host_system;
  static constexpr bool index_per_element = true;
  static inline index_type waits = 0;
  template <class T>
  void download(const T* from, index_type count, T* to) {
    ++waits;
    host_system::download(from, count, to);
  }
  void synchronize() { ++waits; }
};
using context = thrust_backend::context<counting_system, float>;

const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}
clip::text_tower<context> small_tower(context& ctx) {
  return towers::random_text_tower(ctx,
                                   {.width = 16,
                                    .heads = 2,
                                    .layers = 2,
                                    .context_length = 32,
                                    .vocabulary = tokenizer().vocabulary_size(),
                                    .embedding = 8},
                                   5);
}

host_matrix<float> unit_rows(index_type n) {
  host_matrix<float> m(n, 8);
  for (index_type r = 0; r < n; ++r) m(r, r % 8) = 1;
  return m;
}

template <class Work>
index_type waits_of(Work&& work) {
  const index_type before = counting_system::waits;
  work();
  return counting_system::waits - before;
}

}  // namespace

TEST_CASE("a step of NegPrompt waits once", "[thrust]") {
  context ctx;
  const auto tower = small_tower(ctx);
  training_features<float> train;
  train.features = unit_rows(24);
  for (index_type i = 0; i < 24; ++i) train.labels.push_back(i % 3);
  const auto waits = [&](index_type first, index_type second, auto change) {
    negprompt_options o;
    o.context_length = 3;
    o.stage1.epochs = o.stage2.epochs = 0;
    o.stage1.steps = first;
    o.stage2.steps = second;
    o.stage1.batch = o.stage2.batch = 8;
    change(o);
    return waits_of([&] { fit_negprompt(ctx, tower, tokenizer(), 20.0, {"ab", "cd", "abcd"}, train, o); });
  };
  const auto as_it_is = [](negprompt_options&) {};
  CHECK(waits(9, 2, as_it_is) - waits(2, 2, as_it_is) == 7);
  CHECK(waits(2, 9, as_it_is) - waits(2, 2, as_it_is) == 7);
  const auto adamw = [](negprompt_options& o) {
    o.stage2.optimizer.kind = optimizer_kind::adamw;
    o.nis = nis_scope::all;
  };
  CHECK(waits(2, 9, adamw) - waits(2, 2, adamw) == 7);
}

TEST_CASE("a step of inversion does not wait", "[thrust]") {
  context ctx;
  const auto tower = small_tower(ctx);
  const auto images = unit_rows(5);
  const std::vector<std::uint64_t> numbers{0, 1, 2, 3, 4};
  const auto waits = [&](index_type steps) {
    const modality_inverter<context> invert(ctx, tower, tokenizer(), {.templates = {"a photo of {}"}, .steps = steps});
    return waits_of([&] { invert(ctx, images, numbers); });
  };
  CHECK(waits(9) == waits(2));
  CHECK(waits(9) == 3);  // the first cosines, the last ones, the features
}

TEST_CASE("a device gets large tasks unless a size is given", "[thrust]") {
  using processor = thrust_cpp::context<float>;
  CHECK(on_device<context>);
  CHECK_FALSE(on_device<processor>);
  CHECK(rows_of_task<context>(0) > 10 * rows_of_task<processor>(0));
  CHECK(rows_of_task<context>(7) == 7);
  CHECK(kept_bytes<context>(std::nullopt) > kept_bytes<processor>(std::nullopt));
  CHECK(kept_bytes<context>(0) == 0);
}
