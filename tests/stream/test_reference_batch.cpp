// InterNeg in the authors' batches: the procedure by the letter, where it agrees with Algorithm 1, what it depends on.
#include "catch.hpp"
#include "code_of.hpp"

#include "clip/towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/stream/interneg.hpp>
#include <negood/stream/reference_batch.hpp>

using namespace negood;
namespace {

const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}

constexpr index_type width = 8;

host_matrix<float> unit(index_type rows, std::uint64_t index, index_type axis, double pull) {
  host_matrix<float> m(rows, width);
  random_sequence draw(23, random_purpose::test, index);
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
  static constexpr index_type count = 60;
  B ctx;
  clip::text_tower<B> tower;
  host_matrix<float> e = unit(4, 1, 0, 8), p = unit(4, 2, 0, 8), negatives = unit(13, 3, 1, 3);
  host_matrix<real> images{count, width};
  std::vector<observation> who;

  explicit setup(B c = B())
      : ctx(std::move(c)),
        tower(towers::random_text_tower(ctx,
                                        {.width = 16,
                                         .heads = 2,
                                         .layers = 2,
                                         .context_length = 32,
                                         .vocabulary = tokenizer().vocabulary_size(),
                                         .embedding = width},
                                        5)) {
    const auto known = unit(count, 4, 0, 4), unknown = unit(count, 5, 2, 2);
    for (index_type i = 0; i < count; ++i) {
      std::ranges::copy(i % 2 == 0 ? known.row(i) : unknown.row(i), images.row(i).begin());
      who.push_back({static_cast<std::uint64_t>(100 + i), static_cast<std::uint64_t>(i % 5)});
    }
    images = ctx.to_host(normalise_rows(ctx, ctx.from_host(images.view())).unit);
  }
  prompt_bank<B> bank() {
    return make_prompt_bank(ctx, ctx.from_host(cast<real>(e).view()), ctx.from_host(cast<real>(negatives).view()), 6.0);
  }
  reference_batch_options options() const {
    reference_batch_options o{.beta = 0.6, .capacity = 7, .batch = 12};
    o.inversion.steps = 4;
    return o;
  }
  reference_batch_stream<B> stream(const reference_batch_options& o) {
    return {ctx, tower, tokenizer(), bank(), inter_modal_distances(e.view(), p.view()), o};
  }
  host_matrix<real> rows(index_type first, index_type n) const {
    host_matrix<real> out(n, width);
    for (index_type i = 0; i < n; ++i) std::ranges::copy(images.row(first + i), out.row(i).begin());
    return out;
  }
  std::span<const observation> names(index_type first, index_type n) const {
    return std::span(who).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n));
  }
};

using reference_double = reference::context<double>;
static_assert(StreamingScorer<reference_batch_stream<reference_double>, host_matrix<double>>);

bool same(const negative_memory& a, const negative_memory& b) {
  return a.entries() == b.entries() && a.version() == b.version() &&
         std::equal(a.features().data, a.features().data + a.size() * a.width(), b.features().data);
}
std::vector<double> scores_of(const std::vector<stream_answer>& answers) {
  std::vector<double> out;
  for (const auto& a : answers) out.push_back(a.score);
  return out;
}

}  // namespace

TEST_CASE("the batches are the released procedure, with one group and with five", "[reference_batch]") {
  for (const index_type groups : {1, 5}) {
    CAPTURE(groups);
    setup<reference_double> s;
    auto o = s.options();
    o.groups = groups;
    o.beta = groups == 1 ? 0.6 : 0.8;
    auto stream = s.stream(o);
    const auto got = stream.observe(s.images, s.who);
    const auto dot = [](auto a, auto b) {
      double sum = 0;
      for (std::size_t d = 0; d < static_cast<std::size_t>(width); ++d) sum += double(a[d]) * double(b[d]);
      return sum;
    };
    struct row {
      std::vector<double> v;
      double key;
      std::uint64_t sequence;
    };
    std::vector<row> memory;  // sorted by key, as long as it gets: only the first K are read
    const modality_inverter<reference_double> inverter(s.ctx, s.tower, tokenizer(), o.inversion);
    const auto score = [&](index_type i) {
      const auto h = s.images.row(i);
      double id = 0;
      for (index_type c = 0; c < 4; ++c) id += std::exp(6 * dot(h, s.e.row(c)));
      std::vector<double> other;
      for (index_type j = 0; j < 13; ++j) other.push_back(std::exp(6 * dot(h, s.negatives.row(j))));
      for (std::size_t r = 0; r < std::min<std::size_t>(memory.size(), 7); ++r)
        other.push_back(std::exp(6 * dot(h, memory[r].v)));
      other.resize(other.size() - other.size() % std::size_t(groups));
      const auto order = group_permutation(index_type(other.size()));
      const std::size_t each = other.size() / std::size_t(groups);
      double sum = 0;
      for (std::size_t g = 0; g < std::size_t(groups); ++g) {
        double negative = 0;
        for (std::size_t k = 0; k < each; ++k) negative += other[std::size_t(order[g * each + k])];
        sum += id / (id + negative) / double(groups);
      }
      return sum;
    };
    index_type learned = 0, pushed_out = 0;
    for (index_type first = 0; first < 60; first += 12) {
      std::vector<index_type> active;
      for (index_type i = first; i < first + 12; ++i)
        if (score(i) < o.beta) active.push_back(i);
      std::vector<std::uint64_t> fresh;
      for (const auto i : active) {
        const std::vector<std::uint64_t> number{s.who[std::size_t(i)].sequence};
        const auto v = cast<float>(inverter(s.ctx, s.rows(i, 1), number).features);
        double margin = 1e9, key = 0;
        for (index_type c = 0; c < 4; ++c) {
          const double m = dot(s.e.row(c), s.p.row(c)) - dot(v.row(0), s.p.row(c));
          margin = std::min(margin, m);
          key += m / 4;
        }
        CHECK(got[std::size_t(i)].margin == Approx(margin).margin(1e-12));
        if (margin > 0) memory.push_back({{v.row(0).begin(), v.row(0).end()}, key, number[0]});
      }
      std::ranges::stable_sort(memory, [](const row& a, const row& b) { return a.key > b.key; });
      for (index_type i = first; i < first + 12; ++i) {
        CAPTURE(i);
        const auto& answer = got[std::size_t(i)];
        CHECK(answer.score == Approx(score(i)).epsilon(1e-10));
        const bool was_active = std::ranges::find(active, i) != active.end();
        const auto place = std::ranges::find(memory, s.who[std::size_t(i)].sequence, &row::sequence) - memory.begin();
        const bool passed = place < std::ptrdiff_t(memory.size());
        CHECK(answer.outcome == (!was_active  ? admission::not_considered
                                 : !passed    ? admission::refused_near_id
                                 : place >= 7 ? admission::refused_full
                                              : admission::admitted));
        learned += passed;
        pushed_out += passed && place >= 7;
      }
    }
    CHECK(learned > 7);
    CHECK(pushed_out > 0);
    CHECK(stream.memory().size() == 7);
  }
}

TEST_CASE("batches of one with one group answer as Algorithm 1 does", "[reference_batch]") {
  setup<reference_double> s;
  auto o = s.options();
  o.batch = 1;
  auto batches = s.stream(o);
  interneg_options sequential{.beta = o.beta, .capacity = o.capacity, .inversion = o.inversion};
  interneg_stream<reference_double> stream(s.ctx, s.tower, tokenizer(), s.bank(),
                                           inter_modal_distances(s.e.view(), s.p.view()), sequential);
  const auto got = batches.observe(s.images, s.who), wanted = stream.observe(s.images, s.who);
  index_type admitted = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].log_odds == Approx(wanted[i].log_odds).epsilon(1e-11).margin(1e-11));
    CHECK(got[i].outcome == wanted[i].outcome);
    CHECK(got[i].memory_version == wanted[i].memory_version);
    CHECK(got[i].label_index == wanted[i].label_index);
    CHECK(got[i].margin == wanted[i].margin);
    admitted += got[i].outcome == admission::admitted;
  }
  CHECK(admitted > 7);
  CHECK(same(batches.memory(), stream.memory()));
}

TEST_CASE("beta itself is active for the paper and not for the released program", "[reference_batch]") {
  reference_double ctx;
  const auto tower = towers::random_text_tower(ctx,
                                               {.width = 16,
                                                .heads = 2,
                                                .layers = 1,
                                                .context_length = 32,
                                                .vocabulary = tokenizer().vocabulary_size(),
                                                .embedding = 2},
                                               5);
  // An image as near to the class as to the negative: z is exactly 0, S exactly 1/2.
  const host_matrix<double> e(1, 2, {1.0, 0.0}), negative(1, 2, {-1.0, 0.0}), image(1, 2, {0.0, 1.0});
  const auto text = cast<float>(e);
  const auto bank = [&] { return make_prompt_bank(ctx, ctx.from_host(e.view()), ctx.from_host(negative.view()), 5.0); };
  const std::vector<observation> who{{1, 0}};
  reference_batch_stream<reference_double> batches(ctx, tower, tokenizer(), bank(),
                                                   inter_modal_distances(text.view(), text.view()), {.beta = 0.5});
  interneg_stream<reference_double> stream(ctx, tower, tokenizer(), bank(),
                                           inter_modal_distances(text.view(), text.view()), {.beta = 0.5});
  CHECK(batches.observe(image, who)[0].outcome == admission::not_considered);
  CHECK(stream.observe(image, who)[0].outcome != admission::not_considered);
}

TEST_CASE("an answer depends on the batch's later images and on its size, and on nothing outside",
          "[reference_batch]") {
  setup<reference_double> s;
  const auto o = s.options();
  auto a = s.stream(o), b = s.stream(o);
  const auto with = a.observe(s.rows(0, 12), s.names(0, 12));
  auto changed = s.rows(0, 12);
  for (index_type i = 6; i < 12; ++i) std::ranges::copy(s.images.row(0), changed.row(i).begin());  // only known ones
  const auto without = b.observe(changed, s.names(0, 12));
  CHECK(with[0].outcome == admission::not_considered);
  CHECK(with[0].score < without[0].score);  // a known image, brought down by unknown ones behind it
  auto other = o;
  other.batch = 5;
  auto c = s.stream(other);
  CHECK(c.observe(s.rows(0, 12), s.names(0, 12))[0].score != with[0].score);
  // The next batch does not reach back.
  auto d = s.stream(o);
  const auto longer = d.observe(s.rows(0, 24), s.names(0, 24));
  for (std::size_t i = 0; i < 12; ++i) CHECK(longer[i].log_odds == with[i].log_odds);
}

TEMPLATE_TEST_CASE("batches in a call and threads leave the bytes as they are", "[reference_batch]", reference_double,
                   eigen::context<float>) {
  setup<TestType> whole;
  auto o = whole.options();
  o.groups = 5;
  o.beta = 0.8;
  auto a = whole.stream(o);
  const auto wanted = scores_of(a.observe(whole.images, whole.who));
  REQUIRE(a.memory().size() > 0);
  for (const index_type step : {12, 24, 36}) {
    auto b = whole.stream(o);
    std::vector<double> got;
    for (index_type i = 0; i < 60; i += step) {
      const auto n = std::min<index_type>(step, 60 - i);
      const auto some = scores_of(b.observe(whole.rows(i, n), whole.names(i, n)));
      got.insert(got.end(), some.begin(), some.end());
    }
    CHECK(got == wanted);
    CHECK(same(a.memory(), b.memory()));
  }
  if constexpr (std::is_same_v<TestType, eigen::context<float>>)
    for (const index_type threads : {1, 2, 4}) {
      setup<TestType> other(TestType({.threads = threads}));
      auto b = other.stream(o);
      CHECK(scores_of(b.observe(other.images, other.who)) == wanted);
      CHECK(same(a.memory(), b.memory()));
    }
}

TEST_CASE("only the last call may end with a short batch; bad input touches nothing", "[reference_batch]") {
  setup<reference_double> s;
  auto a = s.stream(s.options());
  a.observe(s.rows(0, 12), s.names(0, 12));
  const auto before = a.memory();
  auto bad = s.rows(12, 12);
  bad(7, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK(code_of([&] { a.observe(bad, s.names(12, 12)); }) == "negood.feature.2");
  for (double& v : bad.row(7)) v = 0;
  CHECK(code_of([&] { a.observe(bad, s.names(12, 12)); }) == "negood.feature.3");
  CHECK(code_of([&] { a.observe(s.rows(12, 12), s.names(0, 12)); }) == "negood.stream.3");
  CHECK(same(before, a.memory()));
  CHECK(a.last_sequence() == 111);
  a.observe(s.rows(12, 20), s.names(12, 20));
  CHECK(code_of([&] { a.observe(s.rows(32, 12), s.names(32, 12)); }) == "negood.stream.8");
  a.reset();
  auto fresh = s.stream(s.options());
  CHECK(scores_of(a.observe(s.images, s.who)) == scores_of(fresh.observe(s.images, s.who)));
  auto o = s.options();
  o.groups = 14;
  CHECK(code_of([&] { s.stream(o); }) == "negood.bank.2");
  o = s.options();
  o.batch = 0;
  CHECK(code_of([&] { s.stream(o); }) == "negood.stream.1");
  o.batch = 1;
  o.beta = 1.5;
  CHECK(code_of([&] { s.stream(o); }) == "negood.stream.1");
  CHECK(reference_four().groups == 5);
  CHECK(reference_far().beta == 0.35);
  CHECK(reference_near().groups == 1);
}
