// InterNeg's streaming memory on a tiny random tower: Algorithm 1 by the letter, bounds, guards, replay.
#include "catch.hpp"
#include "code_of.hpp"

#include "clip/towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/stream/interneg.hpp>

#include <thread>

using namespace negood;
namespace {

const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}

constexpr index_type width = 8;

template <class B>
clip::text_tower<B> small_tower(B& ctx) {
  return towers::random_text_tower(ctx,
                                   {.width = 16,
                                    .heads = 2,
                                    .layers = 2,
                                    .context_length = 32,
                                    .vocabulary = tokenizer().vocabulary_size(),
                                    .embedding = width},
                                   5);
}

host_matrix<float> unit(index_type rows, std::uint64_t index, index_type axis, double pull) {
  host_matrix<float> m(rows, width);
  random_sequence draw(21, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (index_type d = 0; d < width; ++d) {
      m(r, d) = static_cast<float>(draw.next_normal() + (d == axis ? pull : 0));
      n += double(m(r, d)) * double(m(r, d));
    }
    for (float& v : m.row(r)) v = static_cast<float>(double(v) / std::sqrt(n));
  }
  return m;
}

/// Classes around axis 0, negatives around axis 1, a stream of known (axis 0) and unknown (axis 2) images by turns.
template <class B>
struct setup {
  using real = real_t<B>;
  B ctx;
  clip::text_tower<B> tower;
  host_matrix<float> e = unit(4, 1, 0, 8), p = unit(4, 2, 0, 8), negatives = unit(6, 3, 1, 3);
  host_matrix<real> images;
  std::vector<observation> who;

  explicit setup(B c = B(), index_type n = 60) : ctx(std::move(c)), tower(small_tower(ctx)), images(n, width) {
    const auto known = unit(n, 4, 0, 4), unknown = unit(n, 5, 2, 2);
    for (index_type i = 0; i < n; ++i) {
      std::ranges::copy(i % 2 == 0 ? known.row(i) : unknown.row(i), images.row(i).begin());
      who.push_back({static_cast<std::uint64_t>(100 + i), static_cast<std::uint64_t>(i % 5)});
    }
    images = ctx.to_host(normalise_rows(ctx, ctx.from_host(images.view())).unit);  // unit in this precision
  }
  interneg_options options() const {
    interneg_options o;
    o.beta = 0.6;
    o.capacity = 7;
    o.inversion.steps = 4;
    return o;
  }
  prompt_bank<B> bank() {
    return make_prompt_bank(ctx, ctx.from_host(cast<real>(e).view()), ctx.from_host(cast<real>(negatives).view()), 6.0);
  }
  interneg_stream<B> stream(const interneg_options& o, host_matrix<real> canaries = {}) {
    return interneg_stream<B>(ctx, tower, tokenizer(), bank(), inter_modal_distances(e.view(), p.view()), o,
                              std::move(canaries));
  }
  host_matrix<real> rows(index_type first, index_type count) const {
    host_matrix<real> out(count, width);
    for (index_type i = 0; i < count; ++i) std::ranges::copy(images.row(first + i), out.row(i).begin());
    return out;
  }
};

using reference_double = reference::context<double>;

std::vector<double> scores_of(const std::vector<stream_answer>& answers) {
  std::vector<double> out;
  for (const auto& a : answers) out.push_back(a.score);
  return out;
}

bool same(const negative_memory& a, const negative_memory& b) {
  return a.entries() == b.entries() && a.version() == b.version() &&
         std::equal(a.features().data, a.features().data + a.size() * a.width(), b.features().data);
}

}  // namespace

TEST_CASE("the stream is Algorithm 1: score, invert, test, insert by key, score again", "[interneg]") {
  setup<reference_double> s;
  const auto o = s.options();
  auto stream = s.stream(o);
  const auto got = stream.observe(s.images, s.who);

  // By the letter, image by image, with plain exponentials.
  struct row {
    std::vector<double> v;
    double key;
  };
  std::vector<row> memory;
  const modality_inverter<reference_double> inverter(s.ctx, s.tower, tokenizer(), o.inversion);
  const auto dot = [](auto a, auto b) {
    double sum = 0;
    for (std::size_t d = 0; d < static_cast<std::size_t>(width); ++d) sum += double(a[d]) * double(b[d]);
    return sum;
  };
  index_type admitted = 0, evictions = 0;
  for (index_type i = 0; i < s.images.rows(); ++i) {
    CAPTURE(i);
    const auto h = s.images.row(i);
    const auto score = [&] {
      double id = 0, other = 0;
      for (index_type c = 0; c < 4; ++c) id += std::exp(6 * dot(h, s.e.row(c)));
      for (index_type j = 0; j < 6; ++j) other += std::exp(6 * dot(h, s.negatives.row(j)));
      for (const auto& m : memory) other += std::exp(6 * dot(h, m.v));
      return id / (id + other);
    };
    double wanted = score();
    const auto& answer = got[static_cast<std::size_t>(i)];
    if (wanted <= o.beta) {
      const std::vector<std::uint64_t> number{s.who[static_cast<std::size_t>(i)].sequence};
      const auto v = cast<float>(inverter(s.ctx, s.rows(i, 1), number).features);
      double margin = 1e9, key = 0;
      for (index_type c = 0; c < 4; ++c) {
        const double m = dot(s.e.row(c), s.p.row(c)) - dot(v.row(0), s.p.row(c));
        margin = std::min(margin, m);
        key += m / 4;
      }
      CHECK(answer.margin == Approx(margin).margin(1e-12));
      if (margin > 0) {
        memory.push_back({{v.row(0).begin(), v.row(0).end()}, key});
        std::ranges::stable_sort(memory, [](const row& a, const row& b) { return a.key > b.key; });
        bool itself = false;
        if (index_type(memory.size()) > o.capacity) {
          itself = memory.back().key == key;
          evictions += itself ? 0 : 1;
          memory.pop_back();
        }
        CHECK(answer.outcome == (itself ? admission::refused_full : admission::admitted));
        admitted += itself ? 0 : 1;
        wanted = score();
      } else {
        CHECK(answer.outcome == admission::refused_near_id);
      }
    } else {
      CHECK(answer.outcome == admission::not_considered);
    }
    CHECK(answer.score == Approx(wanted).epsilon(1e-10));
    CHECK(answer.score == Approx(1 / (1 + std::exp(-answer.log_odds))).epsilon(1e-12));
  }
  CHECK(admitted > 7);
  CHECK(evictions > 0);
  CHECK(stream.memory().size() == 7);
}

TEMPLATE_TEST_CASE("batches, threads and saved memories leave the bytes as they are", "[interneg]",
                   reference::context<double>, eigen::context<float>) {
  setup<TestType> whole;
  auto a = whole.stream(whole.options());
  const auto wanted = scores_of(a.observe(whole.images, whole.who));
  REQUIRE(a.memory().size() > 0);
  for (const index_type step : {1, 7, 60}) {
    setup<TestType> parts;
    auto b = parts.stream(parts.options());
    std::vector<double> got;
    for (index_type i = 0; i < 60; i += step) {
      const auto n = std::min<index_type>(step, 60 - i);
      const auto some = scores_of(b.observe(
          parts.rows(i, n), std::span(parts.who).subspan(static_cast<std::size_t>(i), static_cast<std::size_t>(n))));
      got.insert(got.end(), some.begin(), some.end());
    }
    CHECK(got == wanted);
    CHECK(same(a.memory(), b.memory()));
  }
  if constexpr (std::is_same_v<TestType, eigen::context<float>>)
    for (const index_type threads : {1, 2, 4}) {
      setup<TestType> other(TestType({.threads = threads}));
      auto b = other.stream(other.options());
      CHECK(scores_of(b.observe(other.images, other.who)) == wanted);
      CHECK(same(a.memory(), b.memory()));
    }
  // Interrupted after 23 images: the memory goes out and comes in again.
  setup<TestType> first;
  auto b = first.stream(first.options());
  auto got = scores_of(b.observe(first.rows(0, 23), std::span(first.who).first(23)));
  auto c = first.stream(first.options());
  c.restore(b.state());
  const auto rest = scores_of(c.observe(first.rows(23, 37), std::span(first.who).subspan(23)));
  got.insert(got.end(), rest.begin(), rest.end());
  CHECK(got == wanted);
  CHECK(same(a.memory(), c.memory()));
}

TEST_CASE("F-41 a log of attempts builds the same memory without an image", "[interneg]") {
  setup<eigen::context<float>> s;
  auto a = s.stream(s.options());
  std::vector<interneg_stream<eigen::context<float>>::attempt> log;
  a.on_attempt = [&](const auto& attempt) { log.push_back(attempt); };
  a.observe(s.images, s.who);
  auto b = s.stream(s.options());
  for (const auto& attempt : log) CHECK(b.consider(attempt.feature, attempt.who) == attempt.outcome);
  CHECK(same(a.memory(), b.memory()));
  CHECK(log.size() > 7);
}

TEST_CASE("F-40 NaN, zero rows and repeated numbers are refused and touch nothing", "[interneg]") {
  setup<reference_double> s;
  auto stream = s.stream(s.options());
  stream.observe(s.rows(0, 20), std::span(s.who).first(20));
  const auto before = stream.snapshot();
  auto bad = s.rows(20, 3);
  bad(2, 1) = std::numeric_limits<double>::quiet_NaN();
  const std::span<const observation> next(s.who.data() + 20, 3);
  CHECK(code_of([&] { stream.observe(bad, next); }) != "no error");
  for (double& v : bad.row(2)) v = 0;
  CHECK(code_of([&] { stream.observe(bad, next); }) != "no error");
  CHECK(code_of([&] { stream.observe(s.rows(20, 3), std::span(s.who).first(3)); }) == "negood.stream.3");
  CHECK(same(*before, stream.memory()));
  CHECK(stream.last_sequence() == 119);
  CHECK_NOTHROW(stream.observe(s.rows(20, 3), next));
}

TEST_CASE("frozen learns nothing; deferred learns when told, in the order of arrival", "[interneg]") {
  setup<reference_double> s;
  auto o = s.options();
  o.mode = admission_mode::frozen;
  auto frozen = s.stream(o);
  const auto still = scores_of(frozen.observe(s.images, s.who));
  CHECK(frozen.memory().size() == 0);
  // The static score is an upper bound of every adaptive one.
  auto adaptive = s.stream(s.options());
  const auto moved = scores_of(adaptive.observe(s.images, s.who));
  for (std::size_t i = 0; i < still.size(); ++i) CHECK(moved[i] <= still[i]);
  CHECK(moved != still);

  o.mode = admission_mode::deferred;
  o.pending_limit = 5;
  auto deferred = s.stream(o);
  CHECK(scores_of(deferred.observe(s.images, s.who)) == still);
  CHECK(deferred.pending() == 5);
  CHECK(deferred.dropped() > 0);
  const auto outcomes = deferred.settle();
  REQUIRE(outcomes.size() == 5);
  for (std::size_t i = 1; i < 5; ++i) CHECK(outcomes[i - 1].first.sequence < outcomes[i].first.sequence);
  CHECK(deferred.pending() == 0);
  CHECK(deferred.memory().size() > 0);
}

TEST_CASE("readers keep the memory they hold while the writer goes on", "[interneg]") {
  setup<eigen::context<float>> s;
  auto stream = s.stream(s.options());
  stream.observe(s.rows(0, 30), std::span(s.who).first(30));
  const auto held = stream.snapshot();
  const negative_memory copy = *held;
  std::thread reader([&] {
    setup<eigen::context<float>> own;
    const auto bank = own.bank();
    for (int i = 0; i < 20; ++i) {
      const auto now = stream.snapshot();
      const auto answers = interneg_stream<eigen::context<float>>::score(own.ctx, bank, *now, own.rows(0, 4));
      if (answers[0].memory_version != now->version()) std::abort();
    }
  });
  stream.observe(s.rows(30, 30), std::span(s.who).subspan(30));
  reader.join();
  CHECK(same(*held, copy));
  CHECK(stream.snapshot()->version() > held->version());
  // A reader's score of an image is the stream's with the same memory.
  auto o = s.options();
  o.mode = admission_mode::frozen;
  auto again = s.stream(o);
  again.restore({copy, 1});
  CHECK(scores_of(again.observe(s.rows(0, 5), std::span(s.who).first(5))) ==
        scores_of(interneg_stream<eigen::context<float>>::score(s.ctx, s.bank(), copy, s.rows(0, 5))));
}

TEST_CASE("F-38 duplicates, greedy sources and single sightings are held back", "[interneg]") {
  setup<reference_double> s;
  const auto v = [&](index_type i) {
    std::vector<float> out(width, 0);
    out[2] = 1;
    out[static_cast<std::size_t>(3 + i % 4)] = 0.3F * float(1 + i / 4);
    double n = 0;
    for (const float x : out) n += double(x) * double(x);
    for (float& x : out) x = static_cast<float>(double(x) / std::sqrt(n));
    return out;
  };
  auto o = s.options();
  o.guards.duplicate_cosine = 0.999;
  auto a = s.stream(o);
  CHECK(a.consider(v(0), {1, 1}) == admission::admitted);
  CHECK(a.consider(v(0), {2, 2}) == admission::refused_duplicate);
  CHECK(a.consider(v(1), {3, 2}) == admission::admitted);

  o = s.options();
  o.guards.source_cap = 2;
  auto b = s.stream(o);
  CHECK(b.consider(v(0), {1, 9}) == admission::admitted);
  CHECK(b.consider(v(1), {2, 9}) == admission::admitted);
  CHECK(b.consider(v(2), {3, 9}) == admission::refused_source);
  CHECK(b.consider(v(2), {4, 8}) == admission::admitted);
  CHECK(b.rollback([](const memory_entry& e) { return e.source == 9; }) == 2);
  CHECK(b.memory().size() == 1);
  CHECK(b.consider(v(3), {5, 9}) == admission::admitted);

  o = s.options();
  o.guards.sightings = 3;
  auto c = s.stream(o);
  CHECK(c.consider(v(0), {1, 1}) == admission::quarantined);
  CHECK(c.consider(v(0), {2, 1}) == admission::quarantined);  // the same source again
  CHECK(c.consider(v(0), {3, 2}) == admission::quarantined);
  CHECK(c.consider(v(0), {4, 3}) == admission::admitted);

  o = s.options();
  o.guards.cluster_cap = 1;
  o.guards.cluster_cosine = 0.5;
  auto d = s.stream(o);
  CHECK(d.consider(v(0), {1, 1}) == admission::admitted);
  CHECK(d.consider(v(4), {2, 2}) == admission::refused_cluster);

  o = s.options();  // capacity 7: two of a window of ten images may enter
  o.guards.window = 10;
  o.guards.window_share = 0.3;
  auto e = s.stream(o);
  CHECK(e.consider(v(0), {1, 1}) == admission::admitted);
  CHECK(e.consider(v(1), {2, 1}) == admission::admitted);
  CHECK(e.consider(v(2), {9, 1}) == admission::refused_window);
  CHECK(e.consider(v(2), {10, 1}) == admission::admitted);
  auto f = s.stream(o);  // the count goes on after a restart
  f.consider(v(0), {1, 1});
  f.consider(v(1), {2, 1});
  auto g = s.stream(o);
  g.restore(f.state());
  CHECK(g.consider(v(2), {9, 1}) == admission::refused_window);

  o = s.options();
  o.guards.min_margin = 10;
  CHECK(s.stream(o).consider(v(0), {1, 1}) == admission::refused_near_id);
}

TEST_CASE("F-39 a memory that turns too many decisions stops learning", "[interneg]") {
  setup<reference_double> s;
  auto o = s.options();
  const auto free_run = [&] {
    auto stream = s.stream(o);
    stream.observe(s.images, s.who);
    return stream;
  };
  const auto open = free_run();
  CHECK_FALSE(open.drifted());
  REQUIRE(open.memory().version() > 2);

  // The decision is set where some images lie just above it without memory: what the memory takes counts as turned.
  const auto fixed = interneg_stream<reference_double>::score(s.ctx, s.bank(), negative_memory(7, width), s.images);
  std::vector<double> z;
  for (const auto& a : fixed) z.push_back(a.log_odds);
  std::ranges::sort(z);
  o.guards.window = 1000;
  o.guards.drift_limit = 0.001;
  o.guards.drift_log_odds = z[z.size() / 2] - 1e-9;
  auto watched = s.stream(o);
  index_type turned = 0;
  std::uint64_t version_at_alarm = 0;
  for (index_type i = 0; i < s.images.rows(); ++i) {
    const auto a = watched.observe(s.rows(i, 1), std::span(s.who).subspan(static_cast<std::size_t>(i), 1))[0];
    turned +=
        fixed[static_cast<std::size_t>(i)].log_odds > o.guards.drift_log_odds && a.log_odds <= o.guards.drift_log_odds
            ? 1
            : 0;
    CHECK(watched.drifted() == (turned > 1));  // 0.001 x 1000
    if (watched.drifted() && version_at_alarm == 0) version_at_alarm = watched.memory().version();
  }
  REQUIRE(watched.drifted());
  CHECK(watched.memory().version() == version_at_alarm);
  CHECK(watched.memory().version() < open.memory().version());
  auto again = s.stream(o);  // the alarm is part of what is saved
  again.restore(watched.state());
  CHECK(again.drifted());
  again.resume();
  CHECK_FALSE(again.drifted());
}

TEST_CASE("canaries: a copy of a known image is refused, a flood of noise stays within the bound", "[interneg]") {
  setup<reference_double> s;
  const auto canaries = cast<double>(unit(50, 9, 0, 4));
  auto o = s.options();
  o.capacity = 300;
  o.guards.canary_loss = 0.04;
  auto guarded = s.stream(o, canaries);
  auto open = s.options();
  open.capacity = 300;
  auto unguarded = s.stream(open, canaries);
  const auto lost = [&](const auto& stream) {
    index_type n = 0;
    for (const auto& a : interneg_stream<reference_double>::score(s.ctx, stream.bank(), stream.memory(), canaries))
      n += a.score <= o.beta ? 1 : 0;
    return n;
  };
  const auto at_start = lost(guarded);
  // What is near known images but, by ill luck, clears the condition of every class.
  auto bait = unit(400, 10, 0, 2);
  index_type refused = 0;
  for (index_type i = 0; i < bait.rows(); ++i) {
    const std::vector<float> v(bait.row(i).begin(), bait.row(i).end());
    const observation w{static_cast<std::uint64_t>(i), 0};
    refused += guarded.consider(v, w) == admission::refused_canary ? 1 : 0;
    unguarded.consider(v, w);
  }
  CHECK(refused > 0);
  CHECK(lost(guarded) - at_start <= 2);  // 4 % of 50
  CHECK(lost(unguarded) > lost(guarded));
  const auto noise = unit(2000, 11, 2, 0);
  for (index_type i = 0; i < noise.rows(); ++i)
    guarded.consider({noise.row(i).begin(), noise.row(i).end()}, {static_cast<std::uint64_t>(1000 + i), 1});
  CHECK(lost(guarded) - at_start <= 2);
  CHECK(guarded.memory().size() <= 300);
}

TEST_CASE("the memory keeps the largest keys, the older of equals, and never more than it may", "[memory]") {
  negative_memory m(3, 2);
  const auto put = [&](double key, std::uint64_t sequence) {
    const std::vector<float> row{static_cast<float>(key), static_cast<float>(sequence)};
    return m.insert(row, {key, sequence, 0});
  };
  CHECK(put(1, 1));
  CHECK(put(2, 2));
  CHECK(put(1, 3));
  CHECK(m.version() == 3);
  CHECK_FALSE(put(1, 4));    // equal keys: the older stays
  CHECK_FALSE(put(0.5, 5));  // the weakest itself
  CHECK(m.version() == 3);
  CHECK(put(1.5, 6));  // pushes out (1, 3)
  CHECK(m.size() == 3);
  std::vector<std::uint64_t> sequences;
  for (const auto& e : m.entries()) sequences.push_back(e.sequence);
  CHECK(sequences == std::vector<std::uint64_t>{1, 2, 6});
  CHECK(m.features()(2, 1) == 6.0F);
  negative_memory none(0, 2);
  CHECK_FALSE(none.insert(std::vector<float>{1, 0}, {1, 1, 0}));
}

TEST_CASE("options and banks that do not fit are refused", "[interneg]") {
  setup<reference_double> s;
  auto o = s.options();
  o.beta = 1.5;
  CHECK(code_of([&] { s.stream(o); }) == "negood.stream.1");
  CHECK(code_of([&] {
          interneg_stream<reference_double>(s.ctx, s.tower, tokenizer(),
                                            make_prompt_bank(s.ctx, s.ctx.from_host(cast<double>(s.e).view()),
                                                             s.ctx.from_host(cast<double>(s.negatives).view()), 6.0, 2),
                                            inter_modal_distances(s.e.view(), s.p.view()), s.options());
        }) == "negood.stream.1");
  CHECK(code_of([&] { negative_memory::restore(1, host_matrix<float>(2, 2), {{}, {}}, 2); }) == "negood.stream.2");
}
