/// \file algorithms.hpp  What the tests of whole algorithms share: their oracle, unit rows, a small text tower.
#pragma once

#include "backends.hpp"

#include <negood/clip/tokenizer.hpp>
#include <negood/math/normalise.hpp>

#include "clip/towers.hpp"

namespace conformance {

using oracle = reference::context<double>;

inline host_matrix<double> unit_rows(index_type rows, index_type cols, std::uint64_t seed, double towards_first = 0) {
  auto m = values(rows, cols, -1, 1, seed);
  for (index_type r = 0; r < rows; ++r) m(r, 0) += towards_first;
  oracle ctx;
  auto unit = normalise_rows(ctx, m).unit;
  // What float holds, so that every backend gets the same numbers.
  for (double& v : unit.values()) v = static_cast<double>(static_cast<float>(v));
  return unit;
}

/// `call(ctx)` gives a list of matrices.
template <class T, class Call>
void compare(const std::string& item, double allowed, Call call) {
  auto ctx = T::make(2);
  oracle exact;
  const auto got = call(ctx), wanted = call(exact);
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) check_close<T>(item, got[i], wanted[i], allowed);
}

inline const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}
template <class B>
clip::text_tower<B> small_tower(B& ctx) {
  return towers::random_text_tower(ctx,
                                   {.width = 16,
                                    .heads = 2,
                                    .layers = 2,
                                    .context_length = 32,
                                    .vocabulary = tokenizer().vocabulary_size(),
                                    .embedding = 8},
                                   5);
}

}  // namespace conformance
