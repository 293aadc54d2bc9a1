// Model folders: dialects, fingerprints, and everything a folder can get wrong (F-06, F-17, F-20, F-21).
#include "io_test.hpp"

#include <negood/backend/reference.hpp>
#include <negood/io/model.hpp>
#include <negood/io/npy.hpp>
#include <negood/io/safetensors_writer.hpp>

#include <zlib.h>

#include <cmath>
#include <fstream>
#include <map>

using namespace negood;
using namespace io_test;

namespace {

namespace fs = std::filesystem;
using backend = reference::context<float>;

fs::path towers(const std::string& name) { return golden("towers") / name; }

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct stored_tensor {
  std::vector<std::uint64_t> shape;
  std::vector<double> values;
};

/// A copy of a golden model folder whose tensors and files can be changed.
class edited_model {
 public:
  explicit edited_model(const std::string& name = "openai_f32") {
    for (const auto& entry : fs::directory_iterator(towers(name)))
      if (entry.path().filename() != "model.safetensors") fs::copy(entry.path(), folder_.path());
    const auto file = safetensors_file::read(towers(name) / "model.safetensors");
    for (const auto& t : file.tensors()) {
      auto values = file.tensor<double>(t.name);
      tensors[t.name] = {t.shape, std::move(values.values())};
    }
  }

  std::map<std::string, stored_tensor> tensors;

  fs::path folder() const { return folder_.path(); }
  fs::path operator/(const std::string& name) const { return folder_ / name; }
  void rename(const std::string& from, const std::string& to) {
    auto node = tensors.extract(from);
    REQUIRE(!node.empty());
    node.key() = to;
    tensors.insert(std::move(node));
  }
  void put(const std::string& name, std::vector<std::uint64_t> shape, double value = 0) {
    std::uint64_t n = 1;
    for (const auto d : shape) n *= d;
    tensors[name] = {std::move(shape), std::vector<double>(n, value)};
  }
  void scale(double stored) { put("logit_scale", {}, stored); }
  void config(const std::string& json) { write_text(folder_ / "config.json", json); }
  void save(scalar_type as = scalar_type::f32) const {
    safetensors_writer out;
    for (const auto& [name, t] : tensors) out.add<double>(name, t.shape, t.values, as);
    out.save(folder_ / "model.safetensors");
  }
  clip::model<backend> load(clip::load_options options = {}) const {
    save();
    backend ctx;
    return clip::load(ctx, folder(), options);
  }
  error refusal() const {
    return error_of([&] { load(); });
  }

 private:
  scratch_folder folder_;
};

const std::string own_config = R"({"activation": "quick_gelu", "heads": {"text": 3, "vision": 2})";

/// The rows of `t` from `first` on, `count` of three thirds.
stored_tensor third(const stored_tensor& t, std::size_t part) {
  const std::size_t n = t.values.size() / 3;
  stored_tensor out{t.shape,
                    {t.values.begin() + static_cast<std::ptrdiff_t>(part * n),
                     t.values.begin() + static_cast<std::ptrdiff_t>((part + 1) * n)}};
  out.shape[0] /= 3;
  return out;
}

stored_tensor transposed(const stored_tensor& t) {
  stored_tensor out{{t.shape[1], t.shape[0]}, t.values};
  for (std::size_t r = 0; r < t.shape[0]; ++r)
    for (std::size_t c = 0; c < t.shape[1]; ++c) out.values[c * t.shape[0] + r] = t.values[r * t.shape[1] + c];
  return out;
}

/// The same checkpoint in HuggingFace's names.
void to_huggingface(edited_model& m) {
  const auto old = std::exchange(m.tensors, {});
  const std::vector<std::pair<std::string, std::string>> parts{
      {"visual.transformer.resblocks.", "vision_model.encoder.layers."},
      {"transformer.resblocks.", "text_model.encoder.layers."},
      {"visual.ln_pre", "vision_model.pre_layrnorm"},
      {"visual.ln_post", "vision_model.post_layernorm"},
      {"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"},
      {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
      {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
      {"token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
      {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
      {"ln_final", "text_model.final_layer_norm"},
      {".ln_1.", ".layer_norm1."},
      {".ln_2.", ".layer_norm2."},
      {".mlp.c_fc.", ".mlp.fc1."},
      {".mlp.c_proj.", ".mlp.fc2."},
      {".attn.out_proj.", ".self_attn.out_proj."}};
  for (const auto& [name, tensor] : old) {
    std::string to = name;
    for (const auto& [a, b] : parts)
      if (const auto at = to.find(a); at != std::string::npos && to.find(b) == std::string::npos)
        to.replace(at, a.size(), b);
    if (const auto at = to.find(".attn.in_proj_"); at != std::string::npos)
      for (std::size_t i = 0; i < 3; ++i)
        m.tensors[to.substr(0, at) + ".self_attn." + "qkv"[i] + "_proj." + to.substr(at + 14)] = third(tensor, i);
    else if (name == "text_projection")
      m.tensors["text_projection.weight"] = transposed(tensor);
    else if (name == "visual.proj")
      m.tensors["visual_projection.weight"] = transposed(tensor);
    else
      m.tensors[to] = tensor;
  }
}

}  // namespace

TEST_CASE("a model folder is read with its shapes, preprocessing and scale", "[model]") {
  backend ctx;
  const auto m = clip::load(ctx, towers("openclip_f16"));
  CHECK(m.text.config.width == 20);
  CHECK(m.text.config.heads == 5);
  CHECK(m.text.config.layers == 2);
  CHECK(m.text.config.context_length == 16);
  CHECK(m.text.config.vocabulary == 524);
  CHECK(m.text.config.embedding == 8);
  CHECK(m.text.config.activation == activation_kind::gelu);
  CHECK(m.image.config.width == 12);
  CHECK(m.image.config.heads == 1);
  CHECK(m.image.config.layers == 3);
  CHECK(m.image.config.patch == 2);
  CHECK(m.image.config.tokens() == 17);
  CHECK(m.preprocessing.image_size == 8);
  CHECK(m.preprocessing.mean == std::array<float, 3>{0.4F, 0.5F, 0.6F});
  CHECK(m.preprocessing.std == std::array<float, 3>{0.3F, 0.2F, 0.1F});
  CHECK(std::abs(m.logit_scale - 50) < 0.02);  // its logarithm was rounded to half precision
  CHECK(m.warnings.empty());
  CHECK(m.fingerprint.size() == 64);
  CHECK(m.fingerprint == m.text.fingerprint);
  CHECK(clip::load(ctx, towers("huggingface_f32")).preprocessing.mean == std::array<float, 3>{0.1F, 0.2F, 0.3F});
  CHECK(clip::load(ctx, towers("openai_bf16")).text.config.activation == activation_kind::quick_gelu);
}

TEST_CASE("the same network has the same fingerprint and features in every dialect and type", "[model]") {
  const edited_model original;
  const auto expected = original.load();
  const std::vector<std::string> texts{"a photo of a cat", "hen"};
  backend ctx;
  const auto features = clip::encode_texts(ctx, expected, std::span<const std::string>(texts));
  const auto picture = clip::encode_image(ctx, expected, image(9, 7));

  edited_model prefixed;  // OpenCLIP's CustomTextCLIP
  for (const auto& [name, unused] : edited_model().tensors)
    if (!name.starts_with("visual.") && name != "logit_scale") prefixed.rename(name, "text." + name);
  prefixed.put("text.attn_mask", {16, 16});

  edited_model huggingface;
  to_huggingface(huggingface);
  huggingface.put("text_model.embeddings.position_ids", {1, 16});

  for (const auto* m : {&prefixed, &huggingface}) {
    const auto found = m->load();
    CHECK(found.fingerprint == expected.fingerprint);
    CHECK(clip::encode_texts(ctx, found, std::span<const std::string>(texts)) == features);
    CHECK(clip::encode_image(ctx, found, image(9, 7)) == picture);
    CHECK(found.logit_scale == expected.logit_scale);
  }
  original.save(scalar_type::f64);
  CHECK(clip::load(ctx, original.folder()).fingerprint == expected.fingerprint);
  reference::context<double> in_double;
  CHECK(clip::load(in_double, original.folder()).fingerprint == expected.fingerprint);
}

TEST_CASE("the fingerprint is that of the text tower and the tokenizer", "[model]") {
  const std::string expected = edited_model().load().fingerprint;
  edited_model weight, image_weight, activation, heads, merges;
  weight.tensors["transformer.resblocks.1.mlp.c_fc.bias"].values[5] += 1e-3;
  CHECK(weight.load().fingerprint != expected);
  image_weight.tensors["visual.proj"].values[0] += 1;
  image_weight.scale(3);
  CHECK(image_weight.load().fingerprint == expected);
  activation.config(R"({"activation": "gelu", "heads": {"text": 3, "vision": 2}})");
  CHECK(activation.load().fingerprint != expected);
  heads.config(R"({"activation": "quick_gelu", "heads": {"text": 6, "vision": 2}})");
  CHECK(heads.load().fingerprint != expected);
  auto text = read_text(merges / "bpe_simple_vocab.txt");
  text.replace(text.find("e r"), 3, "e s");
  write_text(merges / "bpe_simple_vocab.txt", text);
  CHECK(merges.load().fingerprint != expected);
}

TEST_CASE("a folder or a call may leave one tower out", "[model]") {
  edited_model text_only, image_only;
  std::erase_if(text_only.tensors, [](const auto& t) { return t.first.starts_with("visual."); });
  std::erase_if(image_only.tensors,
                [](const auto& t) { return !t.first.starts_with("visual.") && t.first != "logit_scale"; });
  fs::remove(image_only / "bpe_simple_vocab.txt");
  const auto text = text_only.load(), picture = image_only.load();
  CHECK(text.has_text());
  CHECK_FALSE(text.has_image());
  CHECK_FALSE(picture.has_text());
  CHECK(picture.has_image());
  CHECK(picture.fingerprint.size() == 64);
  CHECK(code_of([&] { clip::require_image(text, "test"); }) == "negood.model.3");
  CHECK(code_of([&] { clip::require_text(picture, "test"); }) == "negood.model.3");
  const edited_model both;
  CHECK_FALSE(both.load({.image = false}).has_image());
  CHECK_FALSE(both.load({.text = false}).has_text());
}

TEST_CASE("a tensor of another shape is refused with both shapes", "[model]") {
  const auto refusal = [](const std::string& name, std::vector<std::uint64_t> shape) {
    edited_model m;
    REQUIRE(m.tensors.contains(name));
    m.put(name, std::move(shape));
    return m.refusal();
  };
  for (const auto& [name, shape, expected] :
       std::vector<std::tuple<std::string, std::vector<std::uint64_t>, std::string>>{
           {"transformer.resblocks.1.attn.in_proj_weight", {72, 23}, "[72, 23], expected [72, 24]"},
           {"transformer.resblocks.2.ln_1.bias", {25}, "[25], expected [24]"},
           {"transformer.resblocks.0.mlp.c_proj.weight", {24, 95}, "[24, 95], expected [24, 96]"},
           {"token_embedding.weight", {524, 23}, "[524, 23], expected [524, 24]"},
           {"text_projection", {23, 10}, "[23, 10], expected [24, 10]"},
           {"visual.class_embedding", {1, 16}, "[1, 16], expected [16]"},
           {"visual.conv1.weight", {16, 3, 4, 5}, "[16, 3, 4, 5], expected [16, 3, 4, 4]"},
           {"visual.conv1.weight", {16, 48}, "[16, 48], expected 4 dimensions"},
           {"visual.positional_embedding", {9, 16}, "9 rows, expected 1 more than a square"},
           {"visual.proj", {16, 0}, "[16, 0], expected 2 dimensions, none of them 0"}}) {
    CAPTURE(name);
    const auto e = refusal(name, shape);
    CHECK(e.code() == "negood.model.8");
    CHECK(e.category() == error_category::artifact);
    CHECK(mentions(e, "'" + name + "'"));
    CHECK(mentions(e, expected));
  }
  const auto widths = refusal("visual.proj", {16, 11});
  CHECK(widths.code() == "negood.model.8");
  CHECK(mentions(widths, "text features have 10 values, image features 11"));
}

TEST_CASE("missing, superfluous and non-finite tensors are refused by name", "[model]") {
  edited_model missing, gap, more, nan;
  missing.tensors.erase("transformer.resblocks.1.ln_2.bias");
  CHECK(missing.refusal().code() == "negood.model.8");
  CHECK(mentions(missing.refusal(), "'transformer.resblocks.1.ln_2.bias'"));
  std::erase_if(gap.tensors, [](const auto& t) { return t.first.starts_with("transformer.resblocks.1."); });
  CHECK(gap.refusal().code() == "negood.model.10");  // layer 2 has no place behind layer 0
  CHECK(mentions(gap.refusal(), "transformer.resblocks.2."));
  more.put("visual.transformer.resblocks.0.ls_1.gamma", {16});
  CHECK(more.refusal().code() == "negood.model.10");
  CHECK(mentions(more.refusal(), "'visual.transformer.resblocks.0.ls_1.gamma'"));
  nan.tensors["ln_final.weight"].values[3] = std::nan("");
  CHECK(nan.refusal().code() == "negood.model.9");
  CHECK(mentions(nan.refusal(), "'ln_final.weight' is not finite at element 3"));
}

TEST_CASE("checkpoints of other networks are refused by what they look like", "[model]") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> others{
      {{"visual.layer1.0.conv1.weight", "visual.attnpool.c_proj.weight"}, "ModifiedResNet"},
      {{"logit_bias", "text_model.embeddings.token_embedding.weight"}, "SigLIP"},
      {{"visual.trunk.blocks.0.attn.qkv.weight"}, "timm"},
      {{"text.transformer.encoder.layer.0.attention.self.query.weight"}, "HuggingFace text tower"},
      {{"text_decoder.ln_final.weight"}, "CoCa"},
      {{"conv1.weight", "fc.bias"}, "'conv1.weight', 'fc.bias'"},
      {{}, "an empty file"}};
  for (const auto& [names, word] : others) {
    edited_model m;
    m.tensors.clear();
    for (const auto& name : names) m.put(name, {2});
    const auto e = m.refusal();
    CAPTURE(word, std::string(e.what()));
    CHECK(e.code() == "negood.model.7");
    CHECK(mentions(e, word));
    CHECK(mentions(e, "supported: CLIP with a vision transformer"));
  }
}

TEST_CASE("what the weights cannot tell must be in the configuration", "[model]") {
  const auto refusal = [](const std::string& json) {
    edited_model m;
    m.config(json);
    return m.refusal();
  };
  edited_model none;
  fs::remove(none / "config.json");
  CHECK(none.refusal().code() == "negood.model.4");
  CHECK(refusal("{").code() == "negood.model.4");
  CHECK(refusal("[1]").code() == "negood.model.4");
  CHECK(refusal("{}").code() == "negood.model.11");
  CHECK(mentions(refusal("{}"), "text tower of width 24"));
  CHECK(refusal(R"({"heads": {"text": 3, "vision": 2}})").code() == "negood.model.12");
  CHECK(refusal(R"({"activation": "relu"})").code() == "negood.model.5");
  CHECK(mentions(refusal(R"({"activation": "relu"})"), "\"relu\""));
  CHECK(refusal(own_config + R"(, "mean": [1, 2]})").code() == "negood.model.5");
  CHECK(refusal(own_config + R"(, "std": [1, 0, 1]})").code() == "negood.model.5");
  CHECK(refusal(own_config + R"(, "context_length": -3})").code() == "negood.model.5");
  CHECK(refusal(own_config + R"(, "context_length": 77})").code() == "negood.model.13");
  CHECK(mentions(refusal(own_config + R"(, "context_length": 77})"), "77, the weights have 16"));
  CHECK(refusal(own_config + R"(, "image_size": 224})").code() == "negood.model.13");
  CHECK(refusal(R"({"activation": "gelu", "heads": 5})").code() == "negood.model.11");
  CHECK(refusal(R"({"model_type": "blip"})").code() == "negood.model.6");
  CHECK(refusal(R"({"text_config": 3})").code() == "negood.model.5");
  CHECK(refusal(R"({"text_config": {"layer_norm_eps": 1e-6, "num_attention_heads": 3}})").code() == "negood.model.5");
  CHECK(refusal(R"({"text_cfg": {"hf_model_name": "roberta-base"}})").code() == "negood.model.6");
  CHECK(refusal(R"({"vision_cfg": {"timm_model_name": "convnext"}})").code() == "negood.model.6");
  CHECK(refusal(own_config + "}").code() == "");
}

TEST_CASE("other projects' configurations are understood, their silent defaults said aloud", "[model]") {
  edited_model huggingface;
  huggingface.config(R"({"model_type": "clip", "text_config": {"num_attention_heads": 3},
                         "vision_config": {"num_attention_heads": 2, "hidden_act": "gelu"}})");
  const auto hf = huggingface.load();
  CHECK(hf.text.config.activation == activation_kind::quick_gelu);
  CHECK(hf.image.config.activation == activation_kind::gelu);
  REQUIRE(hf.warnings.size() == 1);
  CHECK(hf.warnings[0].find("default quick_gelu") != std::string::npos);

  edited_model openclip;
  openclip.config(R"({"text_cfg": {"heads": 3}, "vision_cfg": {"width": 16, "head_width": 8}})");
  const auto oc = openclip.load();
  CHECK(oc.text.config.activation == activation_kind::gelu);
  CHECK(oc.image.config.heads == 2);
  REQUIRE(oc.warnings.size() == 1);
  CHECK(oc.warnings[0].find("exact GELU") != std::string::npos);

  write_text(openclip / "preprocessor_config.json", R"({"resample": 2, "image_std": [0.5, 0.5, 0.5]})");
  const auto resampled = openclip.load();
  CHECK(resampled.warnings.back().find("not bicubic") != std::string::npos);
  CHECK(resampled.preprocessing.std == std::array<float, 3>{0.5F, 0.5F, 0.5F});
}

TEST_CASE("logit_scale is exponentiated once, and a wrong one is noticed", "[model]") {
  const auto with = [](const std::string& extra, bool keep, double stored) {
    edited_model m;
    if (keep)
      m.scale(stored);
    else
      m.tensors.erase("logit_scale");
    m.config(own_config + extra + "}");
    return m.load();
  };
  const auto code = [&](const std::string& extra, bool keep, double stored) {
    return code_of([&] { with(extra, keep, stored); });
  };
  CHECK(with("", true, std::log(100.0)).logit_scale == Approx(100).epsilon(1e-6));
  CHECK(with("", true, std::log(100.0)).warnings.empty());
  edited_model vector_shaped;
  vector_shaped.put("logit_scale", {1}, 4);
  CHECK(vector_shaped.load().logit_scale == Approx(std::exp(4.0)));
  vector_shaped.put("logit_scale", {2}, 4);
  CHECK(vector_shaped.refusal().code() == "negood.model.8");

  const auto missing = with("", false, 0);
  CHECK(std::isnan(missing.logit_scale));
  CHECK(code_of([&] { clip::require_logit_scale(missing, "mcm"); }) == "negood.model.2");
  CHECK(with(R"(, "logit_scale": 100)", false, 0).logit_scale == 100);

  // log where exp is expected, and the other way round
  const auto logarithm = with(R"(, "logit_scale": 4.6052)", false, 0);
  REQUIRE(logarithm.warnings.size() == 1);
  CHECK(logarithm.warnings[0].find("looks like log(scale)") != std::string::npos);
  const auto both = with(R"(, "logit_scale": 4.6052)", true, std::log(100.0));
  CHECK(both.logit_scale == Approx(100).epsilon(1e-6));
  CHECK(both.warnings.size() == 1);
  const auto replaced = with(R"(, "logit_scale": 50)", true, std::log(100.0));
  CHECK(replaced.logit_scale == 50);
  CHECK(replaced.warnings.size() == 1);
  CHECK(code("", true, 100) == "negood.model.1");
  CHECK(with("", true, 0).warnings.size() == 1);  // exp(0) = 1: an untrained or zeroed scale

  for (const double bad : {HUGE_VAL, -HUGE_VAL, std::nan("")}) CHECK(code("", true, bad) == "negood.model.1");
  CHECK(code(R"(, "logit_scale": 0)", true, 4) == "negood.model.1");
  CHECK(code(R"(, "logit_scale": -5)", true, 4) == "negood.model.1");
  CHECK(code(R"(, "logit_scale": "100")", true, 4) == "negood.model.5");
  for (const double bad : {0.0, -1.0, HUGE_VAL, std::nan("")})
    CHECK(code_of([&] { clip::check_logit_scale(bad, "test"); }) == "negood.model.1");
  CHECK(clip::check_logit_scale(14.3, "test").empty());
}

TEST_CASE("the tokenizer must be the model's", "[model]") {
  edited_model none, few, many, zipped;
  fs::remove(none / "bpe_simple_vocab.txt");
  CHECK(none.refusal().code() == "negood.model.16");
  write_text(few / "bpe_simple_vocab.txt", "#version: 0.2\na n\nan d</w>\n");
  CHECK(few.refusal().code() == "negood.tokenizer.2");
  write_text(many / "bpe_simple_vocab.txt", read_text(many / "bpe_simple_vocab.txt") + "x y\n");
  CHECK(many.refusal().code() == "negood.model.13");
  const std::string merges = read_text(zipped / "bpe_simple_vocab.txt"), expected = zipped.load().fingerprint;
  fs::remove(zipped / "bpe_simple_vocab.txt");
  const gzFile out = gzopen((zipped / "bpe_simple_vocab_16e6.txt.gz").c_str(), "wb");
  REQUIRE(gzwrite(out, merges.data(), static_cast<unsigned>(merges.size())) == static_cast<int>(merges.size()));
  gzclose(out);
  CHECK(zipped.load().fingerprint == expected);

  edited_model huggingface("huggingface_f32");
  const std::string vocabulary = read_text(huggingface / "vocab.json");
  CHECK(huggingface.load().tokenizer.vocabulary_size() == 524);
  write_text(huggingface / "vocab.json", vocabulary.substr(0, vocabulary.size() - 1) + ", \"more\": 524}");
  CHECK(huggingface.refusal().code() == "negood.model.13");
  write_text(huggingface / "vocab.json", vocabulary.substr(0, vocabulary.size() - 1) + ", \"more\": \"x\"}");
  CHECK(huggingface.refusal().code() == "negood.model.5");
  write_text(huggingface / "vocab.json", "{\"a\": 0}");
  CHECK(huggingface.refusal().category() == error_category::artifact);
  fs::remove(huggingface / "merges.txt");
  CHECK(huggingface.refusal().code() == "negood.model.16");
}

TEST_CASE("folders without weights are refused with what to do", "[model]") {
  backend ctx;
  scratch_folder folder;
  const auto refusal = [&](const fs::path& path) { return error_of([&] { clip::load(ctx, path); }); };
  CHECK(refusal(folder / "nowhere").code() == "negood.model.4");
  CHECK(refusal(folder / "nowhere").category() == error_category::io);
  CHECK(refusal(folder.path()).code() == "negood.model.4");
  CHECK(mentions(refusal(folder.path()), "convert"));
  write_text(folder / "model.safetensors.index.json", "{}");
  CHECK(mentions(refusal(folder.path()), "split over several files"));
  fs::copy(towers("openai_f32") / "config.json", folder.path());
  const std::string whole = read_text(towers("openai_f32") / "model.safetensors");
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{100}, whole.size() - 1}) {
    write_text(folder / "model.safetensors", whole.substr(0, size));
    CHECK(refusal(folder.path()).category() == error_category::artifact);
  }
}

TEST_CASE("the embedded model computes what it did where it was trained", "[model]") {
  const fs::path folder = fs::path(NEGOOD_SOURCE_DIR) / "models" / "demo-clip";
  if (!fs::exists(folder / "model.safetensors")) {
    WARN("skipped: models/demo-clip has no weights");
    return;
  }
  backend ctx;
  const auto m = clip::load(ctx, folder);
  CHECK(m.warnings.empty());
  std::vector<std::string> texts;
  std::ifstream in(folder / "golden_texts.txt");
  for (std::string line; std::getline(in, line);) texts.push_back(line);
  const auto expected = read_npy<float>(folder / "golden_text_features.npy");
  const auto found = clip::encode_texts(ctx, m, std::span<const std::string>(texts));
  REQUIRE(found.rows() == expected.rows());
  REQUIRE(found.cols() == expected.cols());
  float worst = 0;
  for (index_type i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found.data()[i] - expected.data()[i]));
  CHECK(worst < 1e-5F);  // the weights in the file are rounded to half precision on both sides
}
