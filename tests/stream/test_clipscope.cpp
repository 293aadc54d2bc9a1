// CLIPScope's counts: the equation by hand, the order of arrival, batches.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/stream/clipscope.hpp>
#include <negood/train/random.hpp>

using namespace negood;
namespace {

template <class Real>
host_matrix<Real> unit(index_type rows, std::uint64_t index) {
  host_matrix<Real> m(rows, 5);
  random_sequence draw(31, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (Real& v : m.row(r)) {
      v = static_cast<Real>(draw.next_normal());
      n += double(v) * double(v);
    }
    for (Real& v : m.row(r)) v = static_cast<Real>(double(v) / std::sqrt(n));
  }
  return m;
}

template <class B>
clipscope_stream<B> stream_on(B& ctx) {
  return {ctx, make_prompt_bank(ctx, ctx.from_host(unit<real_t<B>>(3, 1).view()),
                                ctx.from_host(unit<real_t<B>>(4, 2).view()), 4.0)};
}

std::vector<observation> numbers(index_type n) {
  std::vector<observation> out;
  for (index_type i = 0; i < n; ++i) out.push_back({static_cast<std::uint64_t>(i + 1), 0});
  return out;
}

}  // namespace

TEST_CASE("CLIPScope divides by how often a class was predicted before", "[clipscope]") {
  reference::context<double> ctx;
  auto stream = stream_on(ctx);
  const auto images = unit<double>(40, 3), e = unit<double>(3, 1), n = unit<double>(4, 2);
  const auto got = stream.observe(images, numbers(40));
  std::vector<double> seen(3, 1);
  for (index_type i = 0; i < 40; ++i) {
    const auto weight = [&](const host_matrix<double>& t, index_type r) {
      double z = 0;
      for (index_type d = 0; d < 5; ++d) z += images(i, d) * t(r, d);
      return std::exp(4 * z);
    };
    double id = 0, other = 0, best = 0;
    index_type k = 0;
    for (index_type c = 0; c < 3; ++c) {
      id += weight(e, c);
      if (weight(e, c) > best) best = weight(e, c), k = c;
    }
    for (index_type j = 0; j < 4; ++j) other += weight(n, j);
    const double share = seen[static_cast<std::size_t>(k)] / (seen[0] + seen[1] + seen[2]);
    const auto& a = got[static_cast<std::size_t>(i)];
    CHECK(a.label_index == k);
    CHECK(a.score == Approx(best / id * id / (id + other) / share).epsilon(1e-12));
    CHECK(a.memory_version == static_cast<std::uint64_t>(i));
    seen[static_cast<std::size_t>(k)] += 1;
  }
}

TEST_CASE("CLIPScope: batches and saved counts leave the bytes as they are, bad input leaves the counts",
          "[clipscope]") {
  eigen::context<float> ctx;
  const auto images = unit<float>(30, 3);
  const auto who = numbers(30);
  auto whole = stream_on(ctx);
  const auto wanted = whole.observe(images, who);
  auto first = stream_on(ctx);
  for (index_type i = 0; i < 30; i += 7) {
    if (i == 14) {  // stopped and started again
      auto again = stream_on(ctx);
      again.restore(first.counts(), first.last_sequence());
      first = std::move(again);
    }
    const auto n = std::min<index_type>(7, 30 - i);
    const auto rows = images.view().slice_rows(i, n);
    const auto got = first.observe(host_matrix<float>(n, 5, std::vector<float>(rows.data, rows.data + rows.size())),
                                   std::span(who).subspan(std::size_t(i), std::size_t(n)));
    for (index_type k = 0; k < n; ++k) CHECK(got[std::size_t(k)].score == wanted[std::size_t(i + k)].score);
  }
  CHECK(first.counts() == whole.counts());
  auto bad = unit<float>(2, 4);
  bad(1, 0) = std::numeric_limits<float>::infinity();
  const std::vector<observation> next{{50, 0}, {51, 0}};
  CHECK(code_of([&] { whole.observe(bad, next); }) != "no error");
  CHECK(code_of([&] { whole.observe(unit<float>(2, 4), numbers(2)); }) == "negood.stream.3");
  CHECK(code_of([&] { whole.restore({1, 0, 1}, std::nullopt); }) == "negood.stream.2");
  CHECK(first.counts() == whole.counts());
}
