/// \file backends.hpp  The backends under test, what error each may make, and the table of what ran where.
///
/// One program tests one library: NEGOOD_CONFORMANCE_LIST names the header with its backends (list_*.hpp), which
/// defines
///
///     every_backend     all of them
///     invariant_backends those whose bytes depend neither on the threads nor on the other rows
///     algorithm_backends those that run the algorithms too, which are slow to compile
#pragma once

#ifndef NEGOOD_CONFORMANCE_LIST
#define NEGOOD_CONFORMANCE_LIST "list_eigen.hpp"
#endif
#include NEGOOD_CONFORMANCE_LIST

#include <negood/backend/reference.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "catch.hpp"

namespace conformance {

using namespace negood;

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
    const auto columns = names(static_cast<every_backend*>(nullptr));
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
  template <class... Ts>
  static std::vector<const char*> names(std::tuple<Ts...>*) {
    return {Ts::name...};
  }
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
