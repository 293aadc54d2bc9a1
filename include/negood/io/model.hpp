/// \file model.hpp  Reads a model folder: weights, configuration and tokenizer of a CLIP, whoever published it.
#pragma once

#include <negood/clip/encode_image.hpp>
#include <negood/clip/encode_text.hpp>
#include <negood/clip/model.hpp>
#include <negood/io/gzip.hpp>
#include <negood/io/model_config.hpp>
#include <negood/io/model_layers.hpp>
#include <negood/io/number.hpp>

#include <filesystem>
#include <optional>
#include <tuple>

namespace negood {

namespace detail {

/// Which tensors a checkpoint has, and under which names.
struct checkpoint_layout {
  checkpoint_names names = checkpoint_names::openai;
  std::string text;  ///< what stands before the text tower's names: "" or "text."
  bool has_text = false, has_image = false;
};

/// Recognises the names. \throws error negood.model.7, saying what the checkpoint looks like
inline checkpoint_layout recognise_checkpoint(const model_tensors& t) {
  const auto unsupported = [&](const std::string& what) {
    fail(error_category::artifact, "negood.model.7", t.name(), "looks like " + what,
         "supported: CLIP with a vision transformer and a causal text transformer, in OpenAI's, OpenCLIP's or "
         "HuggingFace's (CLIPModel) tensor names");
  };
  if (t.contains("logit_bias") || t.contains_prefix("vision_model.head."))
    unsupported("SigLIP (it has " + std::string(t.contains("logit_bias") ? "logit_bias" : "vision_model.head") + ")");
  if (t.contains_prefix("visual.layer1.") || t.contains_prefix("visual.attnpool."))
    unsupported("CLIP with a ModifiedResNet image tower (it has visual.layer1 or visual.attnpool)");
  if (t.contains_prefix("visual.trunk.")) unsupported("OpenCLIP with a timm image tower (it has visual.trunk)");
  if (t.contains_prefix("text.transformer.encoder.") || t.contains_prefix("text.transformer.embeddings."))
    unsupported("OpenCLIP with a HuggingFace text tower (it has text.transformer.encoder)");
  if (t.contains_prefix("text_decoder.")) unsupported("CoCa (it has text_decoder)");

  checkpoint_layout out;
  if (t.contains_prefix("text_model.") || t.contains_prefix("vision_model.")) {
    out.names = checkpoint_names::huggingface;
    out.has_text = t.contains("text_model.embeddings.token_embedding.weight");
    out.has_image = t.contains("vision_model.embeddings.patch_embedding.weight");
  } else {
    if (t.contains("text.token_embedding.weight")) out.text = "text.";
    out.has_text = t.contains(out.text + "token_embedding.weight");
    out.has_image = t.contains("visual.conv1.weight");
  }
  if (!out.has_text && !out.has_image) {
    std::string first;
    for (std::size_t i = 0; i < t.file().tensors().size() && i < 3; ++i)
      first += (i == 0 ? "" : ", ") + quote_name(t.file().tensors()[i].name);
    unsupported(first.empty() ? "an empty file" : "no CLIP known here: its tensors begin with " + first);
  }
  return out;
}

/// CLIP's heads are 64 wide; anything else must be in the configuration.
inline index_type heads_of(const std::optional<index_type>& configured, index_type width, const std::string& source,
                           std::string_view tower) {
  if (!configured && width % 64 != 0)
    fail(error_category::artifact, "negood.model.11", source,
         "does not say how many heads the " + std::string(tower) + " tower of width " + std::to_string(width) + " has",
         "add \"heads\": {\"text\": ..., \"vision\": ...}");
  const index_type heads = configured ? *configured : width / 64;
  if (width % heads != 0)
    fail(error_category::artifact, "negood.model.11", source,
         std::to_string(heads) + " heads do not divide the width " + std::to_string(width) + " of the " +
             std::string(tower) + " tower");
  return heads;
}

inline activation_kind activation_of(const std::optional<activation_kind>& configured, const std::string& source) {
  if (!configured)
    fail(error_category::artifact, "negood.model.12", source,
         "does not say which activation the model was trained with",
         "the weights cannot tell: add \"activation\": \"quick_gelu\" (OpenAI's weights) or \"gelu\" (OpenCLIP's)");
  return *configured;
}

inline void require_configured(const std::optional<index_type>& configured, index_type found, const std::string& source,
                               std::string_view what) {
  if (configured && *configured != found)
    fail(
        error_category::artifact, "negood.model.13", source,
        "says " + std::string(what) + " " + std::to_string(*configured) + ", the weights have " + std::to_string(found),
        "is this the configuration of these weights?");
}

/// The text tower; its fingerprint is that of the weights, completed by `load` with the tokenizer's.
template <Backend B>
clip::text_tower<B> read_text_tower(B& ctx, model_tensors& tensors, const checkpoint_layout& layout,
                                    const model_config& config) {
  const bool hf = layout.names == checkpoint_names::huggingface;
  const std::string& p = layout.text;
  const std::string tokens = hf ? "text_model.embeddings.token_embedding.weight" : p + "token_embedding.weight";
  const std::string positions = hf ? "text_model.embeddings.position_embedding.weight" : p + "positional_embedding";
  const std::string final_norm = hf ? "text_model.final_layer_norm" : p + "ln_final";
  const std::string blocks = hf ? "text_model.encoder.layers." : p + "transformer.resblocks.";
  const bool linear = hf || tensors.contains(p + "text_projection.weight");  // stored transposed
  const std::string projection = hf ? "text_projection.weight" : p + "text_projection" + (linear ? ".weight" : "");

  clip::text_config c;
  c.width = tensors.shape(final_norm + ".weight", 1)[0];
  c.vocabulary = tensors.shape(tokens, 2)[0];
  c.context_length = tensors.shape(positions, 2)[0];
  c.embedding = tensors.shape(projection, 2)[linear ? 0 : 1];
  c.heads = heads_of(config.text_heads, c.width, config.source, "text");
  c.activation = activation_of(config.text_activation, config.source);
  require_configured(config.context_length, c.context_length, config.source, "context_length");

  weight_reader reader(ctx, tensors);
  auto token_embedding = reader.table(tokens, c.vocabulary, c.width);
  auto positional_embedding = reader.table(positions, c.context_length, c.width);
  auto layers = read_layers(ctx, tensors, layout.names, blocks, c.width, reader.hash);
  c.layers = static_cast<index_type>(layers.size());
  auto ln_final = reader.layer_norm(final_norm, c.width);
  auto w = linear ? transpose(tensors.template read<real_t<B>>(
                        projection, {static_cast<std::uint64_t>(c.embedding), static_cast<std::uint64_t>(c.width)}))
                  : tensors.template read<real_t<B>>(
                        projection, {static_cast<std::uint64_t>(c.width), static_cast<std::uint64_t>(c.embedding)});
  auto frozen = reader.freeze(reader.keep(std::move(w)));

  tensors.require_all_used(hf ? "text_model." : p + "transformer.", "CLIP's text tower");
  if (p == "text.") tensors.require_all_used("text.", "CLIP's text tower");
  sha256 all;
  all.update("negood.text_tower/1");
  for (const index_type n :
       {c.width, c.heads, c.layers, c.context_length, c.vocabulary, c.embedding, static_cast<index_type>(c.activation)})
    all.update_u64(static_cast<std::uint64_t>(n));
  all.update(reader.hash.hex_digest());
  return {c,
          std::move(token_embedding),
          std::move(positional_embedding),
          std::move(layers),
          std::move(ln_final),
          std::move(frozen),
          all.hex_digest()};
}

/// The image tower and the fingerprint of its weights.
template <Backend B>
std::pair<clip::image_tower<B>, std::string> read_image_tower(B& ctx, model_tensors& tensors,
                                                              const checkpoint_layout& layout,
                                                              const model_config& config) {
  const bool hf = layout.names == checkpoint_names::huggingface;
  const std::string e = "vision_model.embeddings.";
  const std::string patches = hf ? e + "patch_embedding.weight" : "visual.conv1.weight";
  const std::string class_token = hf ? e + "class_embedding" : "visual.class_embedding";
  const std::string positions = hf ? e + "position_embedding.weight" : "visual.positional_embedding";
  const std::string pre = hf ? "vision_model.pre_layrnorm" : "visual.ln_pre";  // so spelt in the checkpoints
  const std::string post = hf ? "vision_model.post_layernorm" : "visual.ln_post";
  const std::string blocks = hf ? "vision_model.encoder.layers." : "visual.transformer.resblocks.";
  const std::string projection = hf ? "visual_projection.weight" : "visual.proj";

  clip::image_config c;
  const auto conv = tensors.shape(patches, 4);
  c.width = conv[0];
  c.patch = conv[2];
  const index_type rows = tensors.shape(positions, 2)[0];
  const auto grid = static_cast<index_type>(std::lround(std::sqrt(static_cast<double>(rows - 1))));
  if (grid < 1 || grid * grid + 1 != rows)
    fail(error_category::artifact, "negood.model.8", tensors.name(),
         "tensor '" + positions + "' has " + std::to_string(rows) + " rows, expected 1 more than a square",
         "one a patch of a square image, and one for the class token");
  c.image_size = grid * c.patch;
  c.embedding = tensors.shape(projection, 2)[hf ? 0 : 1];
  c.heads = heads_of(config.image_heads, c.width, config.source, "vision");
  c.activation = activation_of(config.image_activation, config.source);
  require_configured(config.image_size, c.image_size, config.source, "image_size");
  if (config.mean) c.mean = *config.mean;
  if (config.std) c.std = *config.std;

  weight_reader reader(ctx, tensors);
  const auto w = static_cast<std::uint64_t>(c.width), side = static_cast<std::uint64_t>(c.patch),
             joint = static_cast<std::uint64_t>(c.embedding);
  auto patch_embedding =
      reader.freeze(transpose(reader.keep(tensors.template read<real_t<B>>(patches, {w, 3, side, side}))));
  auto class_embedding = reader.row(class_token, c.width);
  auto positional_embedding = reader.table(positions, rows, c.width);
  auto ln_pre = reader.layer_norm(pre, c.width);
  auto layers = read_layers(ctx, tensors, layout.names, blocks, c.width, reader.hash);
  c.layers = static_cast<index_type>(layers.size());
  auto ln_post = reader.layer_norm(post, c.width);
  auto proj = hf ? transpose(tensors.template read<real_t<B>>(projection, {joint, w}))
                 : tensors.template read<real_t<B>>(projection, {w, joint});
  auto frozen = reader.freeze(reader.keep(std::move(proj)));
  tensors.require_all_used(hf ? "vision_model." : "visual.", "CLIP's vision transformer");

  sha256 all;
  all.update("negood.image_tower/1");
  for (const index_type n :
       {c.width, c.heads, c.layers, c.patch, c.image_size, c.embedding, static_cast<index_type>(c.activation)})
    all.update_u64(static_cast<std::uint64_t>(n));
  all.update(reader.hash.hex_digest());
  clip::image_tower<B> tower{c,
                             std::move(patch_embedding),
                             std::move(class_embedding),
                             std::move(positional_embedding),
                             std::move(ln_pre),
                             std::move(ln_post),
                             std::move(layers),
                             std::move(frozen)};
  return {std::move(tower), all.hex_digest()};
}

/// The tokenizer of a folder, for a model of `vocabulary` tokens.
inline bpe_tokenizer read_tokenizer(const std::filesystem::path& folder, index_type vocabulary,
                                    std::vector<std::string>& warnings) {
  namespace fs = std::filesystem;
  constexpr std::uint64_t limit = std::uint64_t{64} << 20;
  constexpr index_type published = 49408;  // its file lists five times as many merges as CLIP uses
  std::error_code ignored;
  for (const char* const name : {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "bpe_simple_vocab.txt.gz",
                                 "bpe_simple_vocab.txt"}) {
    const fs::path path = folder / name;
    if (!fs::exists(path, ignored)) continue;
    const auto bytes = gunzip_if_compressed(read_file(path, limit), path.string(), {.output_bytes = limit});
    const auto text = as_text(bytes);
    const auto lines = static_cast<index_type>(std::ranges::count(text, '\n'));
    if (vocabulary != published && lines > vocabulary - 514 + 1)
      fail(error_category::artifact, "negood.model.13", path.string(),
           "has " + std::to_string(lines - 1) + " merges, the model's " + std::to_string(vocabulary) +
               " tokens come from " + std::to_string(vocabulary - 514),
           "take the tokenizer file that came with the model");
    return bpe_tokenizer::from_merges(text, {.vocabulary_size = vocabulary});
  }
  const fs::path vocab = folder / "vocab.json", merges = folder / "merges.txt";
  if (!fs::exists(vocab, ignored) || !fs::exists(merges, ignored))
    fail(error_category::io, "negood.model.16", folder.string(), "has no tokenizer file",
         "it needs bpe_simple_vocab_16e6.txt.gz, or vocab.json with merges.txt");
  std::unordered_map<std::string, int> ids;
  const auto json = read_json_object(vocab, limit);
  for (const auto& entry : json.items()) {
    if (!entry.value().is_number_integer())
      fail(error_category::artifact, "negood.model.5", vocab.string(), "a token's id is not an integer");
    ids[entry.key()] = entry.value().get<int>();
  }
  const auto bytes = read_file(merges, limit);
  auto tokenizer = bpe_tokenizer::from_vocabulary(ids, bpe_tokenizer::parse_merges(as_text(bytes)));
  if (tokenizer.vocabulary_size() > vocabulary)
    fail(error_category::artifact, "negood.model.13", vocab.string(),
         "has " + std::to_string(tokenizer.vocabulary_size()) + " tokens, the model has " + std::to_string(vocabulary),
         "take the tokenizer file that came with the model");
  if (tokenizer.vocabulary_size() < vocabulary)
    warnings.push_back(vocab.string() + ": has " + std::to_string(tokenizer.vocabulary_size()) +
                       " tokens, the model has " + std::to_string(vocabulary));
  return tokenizer;
}

/// The exponentiated logit scale out of the checkpoint (which holds its logarithm) and the configuration (F-20); NaN
/// where neither has one.
inline double read_logit_scale(model_tensors& tensors, const checkpoint_layout& layout, const model_config& config,
                               std::vector<std::string>& warnings) {
  const auto warn = [&](std::string w) {
    if (!w.empty()) warnings.push_back(std::move(w));
  };
  std::optional<double> stored;
  for (const std::string& name : {std::string("logit_scale"), layout.text + "logit_scale"})
    if (tensors.contains(name) && !stored) {
      const auto& info = tensors.file().info(name);
      const auto value = tensors.file().template tensor<double>(name);
      if (value.size() != 1)
        fail(error_category::artifact, "negood.model.8", tensors.name(),
             "tensor '" + name + "' is " + dimensions_string(info.shape) + ", expected [] or [1]");
      stored = value(0, 0);
      if (*stored > std::log(1e4))
        fail(error_category::artifact, "negood.model.1", tensors.name(),
             "'" + name + "' is " + format_number(*stored) + ", and exp of it no plausible scale",
             "checkpoints hold log(scale), 4.6052 for 100; this one seems to hold the scale itself");
    }
  if (config.logit_scale) {
    if (stored && std::abs(*config.logit_scale - *stored) <= 1e-3 * std::abs(*stored)) {
      warn(config.source + ": logit_scale looks like log(scale); the checkpoint's exponentiated value is used");
    } else {
      warn(clip::check_logit_scale(*config.logit_scale, config.source));
      if (stored && std::abs(*config.logit_scale - std::exp(*stored)) > 1e-3 * std::exp(*stored))
        warn(config.source + ": logit_scale " + format_number(*config.logit_scale) + " replaces the checkpoint's " +
             format_number(std::exp(*stored)));
      return *config.logit_scale;
    }
  }
  if (!stored) return std::numeric_limits<double>::quiet_NaN();
  warn(clip::check_logit_scale(std::exp(*stored), tensors.name()));
  return std::exp(*stored);
}

}  // namespace detail

namespace clip {

/// Which parts of a folder to read; the other needs no memory.
struct load_options {
  bool text = true;
  bool image = true;
};

/// Reads `model.safetensors` (or `open_clip_model.safetensors`), `config.json` and the tokenizer of a model folder.
///
/// Names and numbers: OpenAI's and OpenCLIP's (also with `text.` before the text tower), HuggingFace's CLIPModel; f64,
/// f32, f16 or bf16 weights. Shapes come from the tensors, and every tensor's shape is checked; what the tensors cannot
/// tell (activation, heads of another width than 64) comes from the configuration and is an error where it is missing.
/// A folder may hold one tower only. The checkpoint's logit_scale is a logarithm; the result's is exponentiated.
///
/// \throws error negood.model.1, .4 to .13, .16; negood.io.*, negood.safetensors.*, negood.tokenizer.*
template <Backend B>
model<B> load(B& ctx, const std::filesystem::path& folder, load_options options = {}) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    fail(error_category::io, "negood.model.4", folder.string(), "is not a model folder",
         "a folder with model.safetensors, config.json and a tokenizer file");
  fs::path weights = folder / "model.safetensors";
  if (!fs::exists(weights, ignored)) weights = folder / "open_clip_model.safetensors";
  if (!fs::exists(weights, ignored)) {
    const bool sharded = fs::exists(folder / "model.safetensors.index.json", ignored);
    fail(error_category::io, "negood.model.4", folder.string(), "has no model.safetensors",
         sharded ? "its weights are split over several files; join them into one"
                 : "convert the weights to safetensors (pickled checkpoints are never read)");
  }
  const auto config = read_model_config(folder);
  negood::detail::model_tensors tensors(safetensors_file::open(weights));
  const auto layout = negood::detail::recognise_checkpoint(tensors);
  auto warnings = config.warnings;

  auto text = layout.has_text && options.text ? negood::detail::read_text_tower(ctx, tensors, layout, config)
                                              : no_text_tower(ctx);
  auto tokenizer = text.config.layers > 0 ? negood::detail::read_tokenizer(folder, text.config.vocabulary, warnings)
                                          : bpe_tokenizer::from_merges("#version: none");  // bytes only
  auto image = layout.has_image && options.image
                   ? negood::detail::read_image_tower(ctx, tensors, layout, config)
                   : std::pair<image_tower<B>, std::string>{no_image_tower(ctx), std::string()};
  if (text.config.layers > 0 && image.first.config.layers > 0 && text.config.embedding != image.first.config.embedding)
    fail(error_category::artifact, "negood.model.8", tensors.name(),
         "text features have " + std::to_string(text.config.embedding) + " values, image features " +
             std::to_string(image.first.config.embedding),
         "the two towers are not of one model");
  if (text.config.layers > 0)
    text.fingerprint = sha256{}.update(text.fingerprint).update(tokenizer.fingerprint()).hex_digest();
  const std::string fingerprint = text.config.layers > 0 ? text.fingerprint : image.second;
  const double logit_scale = negood::detail::read_logit_scale(tensors, layout, config, warnings);
  const auto& c = image.first.config;
  preprocess_options preprocessing;
  if (c.layers > 0) {
    preprocessing.image_size = c.image_size;
    preprocessing.mean = c.mean;
    preprocessing.std = c.std;
  }
  return {std::move(text), std::move(image.first), logit_scale, std::move(tokenizer), preprocessing,
          fingerprint,     std::move(warnings)};
}

}  // namespace clip
}  // namespace negood
