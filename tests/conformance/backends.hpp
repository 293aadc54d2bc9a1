/// \file backends.hpp  The backends under test, what error each may make, and the table of what ran where.
#pragma once

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <tuple>

#include "catch.hpp"

namespace conformance {

using namespace negood;

/// Errors are absolute, on operands of size 1 whose products are of size 1.
struct tolerance {
  double element;  ///< maps, reductions of a few values
  double product;  ///< matrix products and what is made of them
};

struct reference_double {
  using context = reference::context<double>;
  static constexpr const char* name = "reference<double>";
  static constexpr tolerance allowed{1e-14, 1e-13};
  static context make(index_type = 1) { return {}; }
};
struct reference_float {
  using context = reference::context<float>;
  static constexpr const char* name = "reference<float>";
  static constexpr tolerance allowed{2e-6, 1e-5};
  static context make(index_type = 1) { return {}; }
};
template <class Real, precision P>
struct eigen_backend {
  using context = eigen::context<Real>;
  static context make(index_type threads = 1) { return context(eigen::options{.threads = threads, .precision = P}); }
};
struct eigen_float : eigen_backend<float, precision::f32> {
  static constexpr const char* name = "eigen<float> f32";
  static constexpr tolerance allowed{2e-6, 1e-5};
};
struct eigen_double : eigen_backend<double, precision::f64> {
  static constexpr const char* name = "eigen<double>";
  static constexpr tolerance allowed{1e-14, 1e-13};
};
struct eigen_bf16x3 : eigen_backend<float, precision::bf16x3> {
  static constexpr const char* name = "eigen<float> bf16x3";
  static constexpr tolerance allowed{2e-6, 6e-5};
};
struct eigen_bf16 : eigen_backend<float, precision::bf16> {
  static constexpr const char* name = "eigen<float> bf16";
  static constexpr tolerance allowed{2e-6, 3e-2};
};

using every_backend =
    std::tuple<reference_double, reference_float, eigen_float, eigen_double, eigen_bf16x3, eigen_bf16>;
using every_eigen = std::tuple<eigen_float, eigen_double, eigen_bf16x3, eigen_bf16>;

/// What ran on which backend, with the largest error seen; printed when the program ends.
class table {
 public:
  static table& instance() {
    static table t;
    return t;
  }
  void add(const std::string& item, const std::string& backend, double error) {
    auto& cell = cells_[item][backend];
    cell = std::max(cell, error);
  }
  ~table() {
    if (cells_.empty()) return;
    static const char* const columns[] = {reference_double::name, reference_float::name, eigen_float::name,
                                          eigen_double::name,     eigen_bf16x3::name,    eigen_bf16::name};
    std::printf("%-24s", "largest error");
    for (const char* c : columns) std::printf(" %20s", c);
    std::printf("\n");
    for (const auto& [item, row] : cells_) {
      std::printf("%-24s", item.c_str());
      for (const char* c : columns) {
        const auto cell = row.find(c);
        if (cell == row.end())
          std::printf(" %20s", "-");
        else
          std::printf(" %20.1e", cell->second);
      }
      std::printf("\n");
    }
  }

 private:
  std::map<std::string, std::map<std::string, double>> cells_;
};

/// Values in [low, high), the same for every backend: multiples of 2^-16, so that float holds them exactly.
inline host_matrix<double> values(index_type rows, index_type cols, double low, double high, std::uint64_t seed) {
  host_matrix<double> out(rows, cols);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (double& x : out.values()) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const double unit = static_cast<double>(state >> 40) / 16777216.0;
    x = std::nearbyint((low + (high - low) * unit) * 65536.0) / 65536.0;
  }
  return out;
}

template <class B>
tensor_t<B> upload(B& ctx, const host_matrix<double>& m) {
  const auto here = cast<real_t<B>>(m);
  return ctx.from_host(here.view());
}
template <class B>
host_matrix<double> download(B& ctx, const tensor_t<B>& t) {
  return cast<double>(ctx.to_host(t));
}

/// The largest difference; infinite where the shapes differ or only one is a number.
inline double difference(const host_matrix<double>& a, const host_matrix<double>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return INFINITY;
  double worst = 0;
  for (index_type i = 0; i < a.size(); ++i) {
    const double x = a.data()[i], y = b.data()[i];
    if (std::isnan(x) != std::isnan(y)) return INFINITY;
    if (x == y || std::isnan(x)) continue;
    worst = std::max(worst, std::abs(x - y));
  }
  return worst;
}

template <class T>
void check_close(const std::string& item, const host_matrix<double>& got, const host_matrix<double>& wanted,
                 double allowed) {
  const double error = difference(got, wanted);
  table::instance().add(item, T::name, error);
  INFO(T::name << ": " << item << " is off by " << error);
  CHECK(error <= allowed);
}

template <class Real>
bool same_bytes(const host_matrix<Real>& a, const host_matrix<Real>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(Real)) == 0);
}

}  // namespace conformance
