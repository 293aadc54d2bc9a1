// Every member a backend must have, on every backend, against the reference in double.
#include "backends.hpp"

using namespace conformance;

namespace {

using oracle = reference::context<double>;

template <class T, class Call>
void compare(const std::string& item, double allowed, Call call) {
  auto ctx = T::make(2);
  oracle plain;
  check_close<T>(item, download(ctx, call(ctx)), download(plain, call(plain)), allowed);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every primitive agrees with the reference: storage and movement", "[conformance]",
                        every_backend) {
  auto ctx = TestType::make(2);
  using context = typename TestType::context;
  STATIC_REQUIRE(check_backend<context>());
  using real = real_t<context>;
  const auto a = values(37, 21, -1, 1, 1);
  const auto t = upload(ctx, a);
  CHECK(ctx.rows(t) == 37);
  CHECK(ctx.cols(t) == 21);
  CHECK(download(ctx, t) == a);
  CHECK(download(ctx, ctx.clone(t)) == a);
  CHECK(download(ctx, ctx.zeros(3, 5)) == host_matrix<double>(3, 5, 0.0));
  CHECK(ctx.rows(ctx.zeros(0, 7)) == 0);

  const std::vector<index_type> rows{3, 3, 0, 36, 12};
  const auto gathered = download(ctx, ctx.gather_rows(t, rows));
  REQUIRE(gathered.rows() == 5);
  for (index_type r = 0; r < 5; ++r)
    for (index_type c = 0; c < 21; ++c) CHECK(gathered(r, c) == a(rows[static_cast<std::size_t>(r)], c));

  const auto block = download(ctx, ctx.block(t, 5, 7, 30, 9));
  for (index_type r = 0; r < 30; ++r)
    for (index_type c = 0; c < 9; ++c) CHECK(block(r, c) == a(5 + r, 7 + c));

  auto out = ctx.zeros(37, 21);
  ctx.paste(out, ctx.block(t, 0, 0, 4, 3), 33, 18);
  CHECK(download(ctx, out)(36, 20) == a(3, 2));
  CHECK(download(ctx, out)(32, 20) == 0);

  // Repeated rows add up one after the other: in this order 2^30 + 1 - 2^30 loses nothing in double, the 1 in float.
  auto sum = ctx.zeros(2, 1);
  const host_matrix<real> steps(3, 1, std::vector<real>{real(1 << 30), real(1), real(-(1 << 30))});
  const std::vector<index_type> same{1, 1, 1};
  ctx.scatter_add_rows(sum, same, ctx.from_host(steps.view()));
  CHECK(download(ctx, sum)(1, 0) == (sizeof(real) == 8 ? 1.0 : 0.0));
  CHECK(download(ctx, sum)(0, 0) == 0);
}

TEMPLATE_LIST_TEST_CASE("every primitive agrees with the reference: the largest entries", "[conformance]",
                        every_backend) {
  auto ctx = TestType::make(2);
  oracle plain;
  auto a = values(9, 100, -1, 1, 2);
  for (index_type c = 0; c < 100; c += 3) a(4, c) = 0.5;  // ties go by index
  a(5, 17) = INFINITY;
  a(5, 18) = -INFINITY;
  for (const index_type k : {1, 2, 5, 40, 100, 200}) {
    const auto got = ctx.top_k(upload(ctx, a), k);
    const auto wanted = plain.top_k(upload(plain, a), k);
    CHECK(got.indices == wanted.indices);
    CHECK(cast<double>(got.values) == wanted.values);
  }
}

TEMPLATE_LIST_TEST_CASE("every primitive agrees with the reference: products", "[conformance]", every_backend) {
  struct shape {
    index_type m, n, k;
  };
  for (const shape s : {shape{1, 1, 1}, shape{5, 3, 2}, shape{17, 33, 70}, shape{64, 100, 64}, shape{33, 96, 130},
                        shape{300, 65, 31}, shape{3, 1, 600}, shape{2, 200, 1100}}) {
    CAPTURE(s.m, s.n, s.k);
    const double size = 1.0 / std::sqrt(static_cast<double>(s.k));
    const auto a = values(s.m, s.k, -1, 1, 3), at = values(s.k, s.m, -1, 1, 4);
    const auto b = values(s.k, s.n, -size, size, 5), bt = values(s.n, s.k, -size, size, 6);
    const double allowed = TestType::allowed.product;
    compare<TestType>("matmul", allowed, [&](auto& c) { return c.matmul(upload(c, a), upload(c, b)); });
    compare<TestType>("matmul_nt", allowed, [&](auto& c) { return c.matmul_nt(upload(c, a), upload(c, bt)); });
    compare<TestType>("matmul_tn", allowed, [&](auto& c) { return c.matmul_tn(upload(c, at), upload(c, b)); });
    compare<TestType>("frozen matmul", allowed,
                      [&](auto& c) { return c.matmul(upload(c, a), c.freeze(upload(c, b))); });
    compare<TestType>("frozen matmul_nt", allowed,
                      [&](auto& c) { return c.matmul_nt(upload(c, a), c.freeze(upload(c, bt))); });
  }
  auto ctx = TestType::make();
  const auto w = ctx.freeze(upload(ctx, values(6, 4, -1, 1, 7)));
  CHECK(ctx.rows(w) == 6);
  CHECK(ctx.cols(w) == 4);
  CHECK(ctx.rows(ctx.matmul(ctx.zeros(0, 6), w)) == 0);
  CHECK(download(ctx, ctx.matmul(ctx.zeros(2, 0), ctx.zeros(0, 3))) == host_matrix<double>(2, 3, 0.0));
  CHECK_THROWS_AS(ctx.matmul(ctx.zeros(2, 5), w), negood::error);
  CHECK_THROWS_AS(ctx.matmul(ctx.zeros(2, 5), ctx.zeros(4, 5)), negood::error);
}

TEMPLATE_LIST_TEST_CASE("every primitive agrees with the reference: maps", "[conformance]", every_backend) {
  const double allowed = TestType::allowed.element;
  const auto a = values(23, 37, -6, 6, 8);
  const auto positive = values(23, 37, 0.01, 6, 10), column = values(23, 1, 0.5, 2, 11),
             row = values(1, 37, 0.5, 2, 12);
  const auto one = [&](const char* name, auto f, const host_matrix<double>& x, double times = 1) {
    compare<TestType>(name, allowed * times, [&](auto& c) { return c.map(f, upload(c, x)); });
  };
  one("scale", element::scale{1.7}, a, 4);
  one("shift", element::shift{-0.3}, a);
  one("exp", element::exp{}, a, 200);  // up to 400
  one("log", element::log{}, positive);
  one("sqrt", element::sqrt{}, positive);
  one("square", element::square{}, a, 10);
  one("reciprocal", element::reciprocal{}, positive, 50);
  one("sigmoid", element::sigmoid{}, a);
  one("softplus", element::softplus{}, a);
  one("gelu", element::gelu{}, a);
  one("gelu_derivative", element::gelu_derivative{}, a);
  one("quick_gelu", element::quick_gelu{}, a);
  one("quick_gelu_derivative", element::quick_gelu_derivative{}, a);
  const auto two = [&](const char* name, auto f) {
    compare<TestType>(name, 4 * allowed, [&](auto& c) { return c.map(f, upload(c, a), upload(c, positive)); });
    compare<TestType>("map_rows", 20 * allowed,
                      [&](auto& c) { return c.map_rows(f, upload(c, a), upload(c, column)); });
    compare<TestType>("map_cols", 20 * allowed, [&](auto& c) { return c.map_cols(f, upload(c, a), upload(c, row)); });
  };
  two("add", element::add{});
  two("subtract", element::subtract{});
  two("multiply", element::multiply{});
  two("maximum", element::maximum{});
  two("add_scaled", element::add_scaled{-0.7});
  compare<TestType>("divide", 4 * allowed, [&](auto& c) {
    return c.map(element::divide{}, upload(c, a), upload(c, values(23, 37, 0.5, 2, 13)));
  });
  compare<TestType>("map_rows", 20 * allowed,
                    [&](auto& c) { return c.map_rows(element::divide{}, upload(c, a), upload(c, column)); });
  auto ctx = TestType::make();
  CHECK_THROWS_AS(ctx.map(element::add{}, ctx.zeros(2, 3), ctx.zeros(3, 2)), negood::error);
  CHECK_THROWS_AS(ctx.map_rows(element::add{}, ctx.zeros(2, 3), ctx.zeros(1, 3)), negood::error);
  CHECK_THROWS_AS(ctx.map_cols(element::add{}, ctx.zeros(2, 3), ctx.zeros(2, 1)), negood::error);
}

TEMPLATE_LIST_TEST_CASE("every primitive agrees with the reference: values at the edges of the numbers",
                        "[conformance]", every_backend) {
  host_matrix<double> edge(1, 9, std::vector<double>{INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e30, -1e30, -90, 85});
  const auto same = [&](const char* name, auto f, double relative) {
    auto ctx = TestType::make();
    const auto got = download(ctx, ctx.map(f, upload(ctx, edge)));
    oracle plain;
    const auto wanted = download(plain, plain.map(f, upload(plain, edge)));
    for (index_type i = 0; i < edge.size(); ++i) {
      INFO(TestType::name << ": " << name << "(" << edge.data()[i] << ") = " << got.data()[i] << ", not "
                          << wanted.data()[i]);
      if (std::isnan(wanted.data()[i]))
        CHECK(std::isnan(got.data()[i]));
      else if (std::isinf(wanted.data()[i]))
        CHECK(got.data()[i] == wanted.data()[i]);
      else
        CHECK(std::abs(got.data()[i] - wanted.data()[i]) <= relative * std::abs(wanted.data()[i]) + 1e-37);
    }
  };
  same("exp", element::exp{}, 1e-5);
  same("log", element::log{}, 1e-5);
  same("sigmoid", element::sigmoid{}, 1e-5);
  same("softplus", element::softplus{}, 1e-5);
}

TEMPLATE_LIST_TEST_CASE("every primitive agrees with the reference: reductions", "[conformance]", every_backend) {
  const double allowed = TestType::allowed.product;  // up to 8,000 terms of size 1/40
  for (const index_type cols : {1, 5, 16, 64, 203, 1000}) {
    const double size = 1.0 / std::sqrt(static_cast<double>(200 * cols));
    const auto a = values(200, cols, -size, size, 14);
    compare<TestType>("reduce_rows sum", allowed,
                      [&](auto& c) { return c.reduce_rows(reduction::sum{}, upload(c, a)); });
    compare<TestType>("reduce_cols sum", allowed,
                      [&](auto& c) { return c.reduce_cols(reduction::sum{}, upload(c, a)); });
    compare<TestType>("reduce_all sum", allowed, [&](auto& c) { return c.reduce_all(reduction::sum{}, upload(c, a)); });
    const double exact = sizeof(real_t<typename TestType::context>) == 8 ? 0 : 1e-8;
    compare<TestType>("reduce_rows maximum", exact,
                      [&](auto& c) { return c.reduce_rows(reduction::maximum{}, upload(c, a)); });
    compare<TestType>("reduce_cols maximum", exact,
                      [&](auto& c) { return c.reduce_cols(reduction::maximum{}, upload(c, a)); });
    compare<TestType>("reduce_all maximum", exact,
                      [&](auto& c) { return c.reduce_all(reduction::maximum{}, upload(c, a)); });
  }
  auto ctx = TestType::make();
  CHECK(download(ctx, ctx.reduce_cols(reduction::sum{}, ctx.zeros(0, 4))) == host_matrix<double>(1, 4, 0.0));
  CHECK(download(ctx, ctx.reduce_all(reduction::sum{}, ctx.zeros(0, 4)))(0, 0) == 0);
}

TEMPLATE_LIST_TEST_CASE("tasks each run once, with a context that computes", "[conformance]", every_backend) {
  auto ctx = TestType::make(4);
  const auto a = upload(ctx, values(40, 30, -1, 1, 15));
  const auto w = ctx.freeze(upload(ctx, values(30, 20, -1, 1, 16)));
  const auto alone = ctx.to_host(ctx.matmul(a, w));
  std::vector<int> runs(50, 0);
  std::vector<char> right(50, 0);
  ctx.for_each_task(50, [&](auto& worker, index_type i) {
    ++runs[static_cast<std::size_t>(i)];
    right[static_cast<std::size_t>(i)] = same_bytes(worker.to_host(worker.matmul(a, w)), alone);
    worker.for_each_task(3, [](auto& inner, index_type) { inner.synchronize(); });
  });
  ctx.synchronize();
  for (const int n : runs) CHECK(n == 1);
  for (const char ok : right) CHECK(ok);
  CHECK_THROWS_AS(ctx.for_each_task(5,
                                    [](auto&, index_type i) {
                                      if (i == 3) fail(error_category::data, "x", "y", "z");
                                    }),
                  negood::error);
}
