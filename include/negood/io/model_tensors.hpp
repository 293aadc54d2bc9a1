/// \file model_tensors.hpp  Tensors of a checkpoint by name, each with the shape it must have, and what was left over.
#pragma once

#include <negood/hash.hpp>
#include <negood/io/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>

namespace negood::detail {

/// "[512, 3, 16, 16]"
inline std::string dimensions_string(std::span<const std::uint64_t> shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return out + "]";
}

/// Reads a checkpoint's tensors and remembers which; reading is safe from several threads.
class model_tensors {
 public:
  explicit model_tensors(safetensors_file file) : file_(std::move(file)) {}

  const safetensors_file& file() const noexcept { return file_; }
  const std::string& name() const noexcept { return file_.name(); }
  bool contains(std::string_view tensor) const noexcept { return file_.contains(tensor); }
  /// True if some tensor's name begins so.
  bool contains_prefix(std::string_view prefix) const {
    return std::ranges::any_of(file_.tensors(), [&](const auto& t) { return t.name.starts_with(prefix); });
  }

  /// The tensor's shape. \throws error negood.model.8 where it is missing or has another rank
  std::vector<index_type> shape(const std::string& tensor, std::size_t rank) const {
    const auto& t = find(tensor);
    std::vector<index_type> out(t.shape.begin(), t.shape.end());
    if (out.size() != rank || std::ranges::find(out, 0) != out.end())
      fail(error_category::artifact, "negood.model.8", name(),
           "tensor '" + tensor + "' is " + dimensions_string(t.shape) + ", expected " + std::to_string(rank) +
               " dimensions, none of them 0");
    return out;
  }

  /// The values, as the matrix [shape[0], rest]; a vector comes as [n, 1].
  /// \throws error negood.model.8 for a missing tensor or another shape than `expected`, .9 for NaN or infinity
  template <class Real>
  host_matrix<Real> read(const std::string& tensor, std::vector<std::uint64_t> expected) {
    const auto& t = find(tensor);
    if (t.shape != expected)
      fail(error_category::artifact, "negood.model.8", name(),
           "tensor '" + tensor + "' is " + dimensions_string(t.shape) + ", expected " + dimensions_string(expected),
           "its size does not fit the other tensors of the checkpoint");
    auto out = file_.template tensor<Real>(tensor);
    for (index_type i = 0; i < out.size(); ++i)
      if (!std::isfinite(out.data()[i]))
        fail(error_category::artifact, "negood.model.9", name(),
             "tensor '" + tensor + "' is not finite at element " + std::to_string(i));
    used(tensor);
    return out;
  }

  void used(const std::string& tensor) {
    const std::lock_guard<std::mutex> lock(mutex_);
    used_.insert(tensor);
  }

  /// \throws error negood.model.10 where a tensor below `prefix` was not used: the network is not the one built
  void require_all_used(const std::string& prefix, std::string_view what) const {
    for (const auto& t : file_.tensors()) {
      if (!t.name.starts_with(prefix) || used_.contains(t.name)) continue;
      const bool bookkeeping = t.name.ends_with("position_ids") || t.name.ends_with("attn_mask");
      if (!bookkeeping)
        fail(error_category::artifact, "negood.model.10", name(),
             "tensor '" + t.name + "' has no place in " + std::string(what),
             "negood runs the plain pre-norm CLIP transformers; this checkpoint computes something else");
    }
  }

 private:
  const safetensors_tensor& find(const std::string& tensor) const {
    const auto* t = file_.find(tensor);
    if (t == nullptr)
      fail(error_category::artifact, "negood.model.8", name(), "has no tensor '" + tensor + "'",
           "the checkpoint is incomplete");
    return *t;
  }

  safetensors_file file_;
  std::mutex mutex_;
  std::set<std::string> used_;
};

/// w' of a matrix, in blocks that stay in the cache.
template <class Real>
host_matrix<Real> transpose(const host_matrix<Real>& w) {
  host_matrix<Real> out(w.cols(), w.rows());
  constexpr index_type block = 32;
  for (index_type r0 = 0; r0 < w.rows(); r0 += block)
    for (index_type c0 = 0; c0 < w.cols(); c0 += block)
      for (index_type r = r0; r < std::min(r0 + block, w.rows()); ++r)
        for (index_type c = c0; c < std::min(c0 + block, w.cols()); ++c) out(c, r) = w(r, c);
  return out;
}

/// Adds the values, as float32, to a fingerprint: the same whatever type the file or the backend has.
template <class Real>
void hash_values(sha256& hash, const host_matrix<Real>& m) {
  hash.update_u64(static_cast<std::uint64_t>(m.rows())).update_u64(static_cast<std::uint64_t>(m.cols()));
  if constexpr (std::is_same_v<Real, float>) {
    hash.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(float));
  } else {
    std::vector<float> chunk;
    for (index_type first = 0; first < m.size(); first += 4096) {
      const index_type n = std::min<index_type>(4096, m.size() - first);
      chunk.assign(static_cast<std::size_t>(n), 0.0F);
      for (index_type i = 0; i < n; ++i) chunk[static_cast<std::size_t>(i)] = static_cast<float>(m.data()[first + i]);
      hash.update(chunk.data(), chunk.size() * sizeof(float));
    }
  }
}

}  // namespace negood::detail
