/// \file model_layers.hpp  One transformer layer out of a checkpoint, in OpenAI's or HuggingFace's names.
#pragma once

#include <negood/clip/transformer.hpp>
#include <negood/io/model_tensors.hpp>

namespace negood::detail {

/// How a checkpoint names its tensors.
enum class checkpoint_names { openai, huggingface };

/// Reads weights in a fixed order, hashes them on the way, and hands them to the backend.
template <Backend B>
class weight_reader {
 public:
  using real = real_t<B>;

  weight_reader(B& ctx, model_tensors& tensors) : ctx_(&ctx), tensors_(&tensors) {}

  sha256 hash;

  /// A vector as a row `[1, n]`.
  host_matrix<real> vector(const std::string& name, index_type n) {
    auto v = tensors_->template read<real>(name, {static_cast<std::uint64_t>(n)});
    return keep(host_matrix<real>(1, n, std::move(v.values())));
  }
  tensor_t<B> row(const std::string& name, index_type n) { return ctx_->from_host(vector(name, n).view()); }
  host_matrix<real> matrix(const std::string& name, index_type rows, index_type cols) {
    return keep(
        tensors_->template read<real>(name, {static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols)}));
  }
  tensor_t<B> table(const std::string& name, index_type rows, index_type cols) {
    return ctx_->from_host(matrix(name, rows, cols).view());
  }
  layer_norm_weights<B> layer_norm(const std::string& name, index_type n) {
    auto gain = row(name + ".weight", n);
    auto bias = row(name + ".bias", n);
    return {std::move(gain), std::move(bias)};
  }
  /// A layer stored as y = x W' + b, W `[out, in]`.
  linear_weights<B> linear(const std::string& name, index_type out, index_type in) {
    const auto w = matrix(name + ".weight", out, in);
    return packed(w, vector(name + ".bias", out), 0, out);
  }
  /// Rows [first, first + count) of a stored `[out, in]` matrix and of its bias.
  linear_weights<B> packed(const host_matrix<real>& w, const host_matrix<real>& bias, index_type first,
                           index_type count) {
    host_matrix<real> rows(count, w.cols());
    std::copy_n(w.data() + first * w.cols(), count * w.cols(), rows.data());
    host_matrix<real> b(1, count);
    std::copy_n(bias.data() + first, count, b.data());
    return {freeze(transpose(rows)), ctx_->from_host(b.view())};
  }
  frozen_t<B> freeze(const host_matrix<real>& w) { return ctx_->freeze(ctx_->from_host(w.view())); }
  /// Adds to the fingerprint and returns what was added.
  host_matrix<real> keep(host_matrix<real> m) {
    hash_values(hash, m);
    return m;
  }
  /// One matrix of those of queries, keys and values, `[3 d, d]`, and the biases, `[1, 3 d]`.
  std::pair<host_matrix<real>, host_matrix<real>> joined(const std::string& attention, index_type d) {
    host_matrix<real> w(3 * d, d), b(1, 3 * d);
    const char* const parts[] = {".q_proj", ".k_proj", ".v_proj"};
    for (index_type i = 0; i < 3; ++i) {
      const auto side = static_cast<std::uint64_t>(d);
      const auto wi = tensors_->template read<real>(attention + parts[i] + ".weight", {side, side});
      const auto bi = tensors_->template read<real>(attention + parts[i] + ".bias", {side});
      std::ranges::copy(wi.values(), w.data() + i * d * d);
      std::ranges::copy(bi.values(), b.data() + i * d);
    }
    auto kept = keep(std::move(w));
    return {std::move(kept), keep(std::move(b))};
  }

  /// The layer whose tensors begin with `block` (its name with the last dot).
  clip::transformer_layer<B> layer(checkpoint_names names, const std::string& block, index_type d) {
    const bool hf = names == checkpoint_names::huggingface;
    auto ln_1 = layer_norm(block + (hf ? "layer_norm1" : "ln_1"), d);
    const std::string attention = block + (hf ? "self_attn" : "attn");
    host_matrix<real> w, b;
    if (hf) {
      std::tie(w, b) = joined(attention, d);
    } else {
      w = matrix(attention + ".in_proj_weight", 3 * d, d);
      b = vector(attention + ".in_proj_bias", 3 * d);
    }
    auto query = packed(w, b, 0, d);
    auto key_value = packed(w, b, d, 2 * d);
    auto out = linear(attention + ".out_proj", d, d);
    auto ln_2 = layer_norm(block + (hf ? "layer_norm2" : "ln_2"), d);
    const std::string in_name = block + (hf ? "mlp.fc1" : "mlp.c_fc"),
                      out_name = block + (hf ? "mlp.fc2" : "mlp.c_proj");
    const index_type hidden = tensors_->shape(in_name + ".weight", 2)[0];
    auto mlp_in = linear(in_name, hidden, d);
    auto mlp_out = linear(out_name, d, hidden);
    return {std::move(ln_1), std::move(ln_2),   std::move(query),  std::move(key_value),
            std::move(out),  std::move(mlp_in), std::move(mlp_out)};
  }

 private:
  B* ctx_;
  model_tensors* tensors_;
};

/// The layers `blocks0.`, `blocks1.`, ... as tasks; their digests are added to `hash` in order.
template <Backend B>
std::vector<clip::transformer_layer<B>> read_layers(B& ctx, model_tensors& tensors, checkpoint_names names,
                                                    const std::string& blocks, index_type d, sha256& hash) {
  index_type count = 0;
  while (tensors.contains_prefix(blocks + std::to_string(count) + ".")) ++count;
  if (count == 0)
    fail(error_category::artifact, "negood.model.8", tensors.name(), "has no tensor '" + blocks + "0...'",
         "the checkpoint is incomplete");
  std::vector<std::optional<clip::transformer_layer<B>>> read(static_cast<std::size_t>(count));
  std::vector<sha256::digest_type> digests(static_cast<std::size_t>(count));
  ctx.for_each_task(count, [&](auto& worker, index_type i) {
    weight_reader reader(worker, tensors);
    read[static_cast<std::size_t>(i)].emplace(reader.layer(names, blocks + std::to_string(i) + ".", d));
    digests[static_cast<std::size_t>(i)] = reader.hash.digest();
  });
  std::vector<clip::transformer_layer<B>> out;
  for (auto& l : read) out.push_back(std::move(*l));
  for (const auto& digest : digests) hash.update(digest.data(), digest.size());
  return out;
}

}  // namespace negood::detail
