/// \file group_permutation.hpp  The order in which published code deals negatives out to groups.
#pragma once

#include <negood/error.hpp>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace negood {

/// The permutation of 0 ... n-1 that PyTorch makes on the CPU with `manual_seed(seed); randperm(n)`:
///
///     r = 0, 1, ..., n-1;   for i = 0 ... n-2: swap r[i] and r[i + g() mod (n - i)],   g = mt19937(seed)
///
/// InterNeg and AdaNeg cut their negatives into groups in this order with seed 0, so their grouped scores can be made
/// again: `make_prompt_bank(ctx, e, n, 100, G, group_permutation(M - M % G))`. NegLabel and CSP draw theirs on the GPU,
/// from another generator. The remainder makes small indices a little likelier, by at most n / 2^32.
/// \throws error negood.random.2 unless 0 <= n < 2^32
inline std::vector<index_type> group_permutation(index_type n, std::uint32_t seed = 0) {
  if (n < 0 || n >= (index_type{1} << 32))
    fail(error_category::usage, "negood.random.2", "group_permutation", "cannot permute " + std::to_string(n));
  std::vector<index_type> r(static_cast<std::size_t>(n));
  std::iota(r.begin(), r.end(), index_type{0});
  std::mt19937 g(seed);  // its output is laid down by the standard
  for (std::size_t i = 0; i + 1 < r.size(); ++i) std::swap(r[i], r[i + g() % (r.size() - i)]);
  return r;
}

}  // namespace negood
