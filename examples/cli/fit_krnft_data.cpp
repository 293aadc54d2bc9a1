// Training data of feature maps: crops as features, crops of pictures, or samples with a pool of outliers.
#include "fit_krnft.hpp"
#include "training_data.hpp"

#include <negood/clip/encode_crops.hpp>
#include <negood/io/feature_cache.hpp>

#include <atomic>

namespace negood::cli {

namespace {

/// Unit features of a file, of the classes' width and encoder.
template <class Real>
host_matrix<Real> features_of_file(const fit_options& o, const std::string& file, const tuned_labels& labels) {
  check_encoder(o.common, fingerprint_of_features(file), file, labels.fingerprint, "the rest", o.force_encoder);
  auto out = read_unit_features<Real>(o.common, file, o.rows).rows;
  check_same_width(out.cols(), file, labels.classes.features.cols(), labels.classes.source);
  return out;
}

void check_labels(const std::vector<index_type>& labels, const std::string& source, std::size_t classes) {
  for (std::size_t i = 0; i < labels.size(); ++i)
    check_label(labels[i], static_cast<index_type>(i), source,
                {.classes = static_cast<index_type>(classes), .lowest = 0});
}

/// Both files of --crop-features with --train-labels, one an image.
template <class Real>
tuning_data<Real> crops_as_features(const fit_options& o, const tuned_labels& labels, const name_list& names) {
  if (o.train_labels.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "--crop-features without --train-labels", "one label an image");
  const auto& [good, bad] = std::pair(o.tuning.crop_features[0], o.tuning.crop_features[1]);
  tuning_data<Real> out;
  out.source = good;
  auto& d = out.data;
  d.positives = features_of_file<Real>(o, good, labels);
  d.negatives = features_of_file<Real>(o, bad, labels);
  const auto given = read_labels(o.train_labels, {.lowest = 0});
  d.labels.assign(given.begin(), given.end());
  const auto images = static_cast<index_type>(d.labels.size());
  for (const auto& [file, rows] : {std::pair(good, d.positives.rows()), std::pair(bad, d.negatives.rows())})
    if (images == 0 || rows % images != 0)
      fail(error_category::data, "negood.labels.1", file,
           std::to_string(rows) + " rows are not the same number for each of the " + std::to_string(images) +
               " images of " + o.train_labels,
           "Q rows an image, image after image");
  merge_labels(d.labels, names, o.train_labels);
  check_labels(d.labels, o.train_labels, names.names.size());
  return out;
}

/// Crops of the pictures of --train, from --cache where they were encoded before.
template <Backend B>
tuning_data<real_t<B>> crops_of_pictures(B& ctx, text_encoder<B>& model, const fit_options& o,
                                         const krnft_options& options, const name_list& names) {
  using real = real_t<B>;
  auto list = read_image_list(o.train, image_list_options{.root = o.root, .lowest = 0});
  const bool folders = !list.class_names.empty();
  if (folders) match_folders(o, list, names);
  tuning_data<real> out;
  out.source = o.train;
  auto& d = out.data;
  d.labels = list.labels;
  if (!folders || names.class_of_line.size() == names.names.size()) merge_labels(d.labels, names, o.train);
  check_labels(d.labels, o.train, names.names.size());

  const auto& m = model.get();
  const std::vector<std::string> prompt{"a photo of a {}."};
  const auto texts = clip::encode_texts_with_templates(ctx, m, std::span<const std::string>(names.names),
                                                       std::span<const std::string>(prompt), o.text.encoding());
  host_matrix<real> label_text(list.size(), texts.cols());
  for (index_type i = 0; i < list.size(); ++i)
    std::ranges::copy(texts.row(d.labels[static_cast<std::size_t>(i)]), label_text.row(i).begin());

  const index_type q = options.keep;
  const auto compute = [&] {
    progress bar(o.common, "crops of images", list.size());
    clip::crop_options how{.crops = options.crops, .keep = q};
    how.augment.seed = o.common.seed;
    how.on_image = [&](index_type done) {
      throw_if_stopped("fit");
      bar.update(done);
    };
    const auto crops = clip::encode_crops(
        ctx, m, list.size(), [&](index_type i) { return read_image(list.file(i)); }, label_text.view(), how);
    host_matrix<float> both(2 * crops.positives.rows(), texts.cols());
    for (index_type i = 0; i < list.size(); ++i)
      for (index_type j = 0; j < q; ++j)
        for (const bool negative : {false, true}) {
          const auto from = (negative ? crops.negatives : crops.positives).row(i * q + j);
          std::ranges::transform(from, both.row((2 * i + (negative ? 1 : 0)) * q + j).begin(),
                                 [](real v) { return static_cast<float>(v); });
        }
    return both;
  };
  host_matrix<float> both;
  if (o.words.cache.empty()) {
    both = compute();
  } else {
    // A picture by its bytes, its label by its text; place in the list, since crops are drawn for it.
    std::vector<std::string> pictures(static_cast<std::size_t>(list.size()));
    ctx.for_each_task(list.size(), [&](B&, index_type i) {
      const auto bytes = read_file(list.file(i));
      const auto at = static_cast<std::size_t>(i);
      pictures[at] = sha256{}.update(bytes.data(), bytes.size()).hex_digest() + " " +
                     names.names[static_cast<std::size_t>(d.labels[at])];
    });
    const std::string how = "crops " + std::to_string(options.crops) + " keep " + std::to_string(q) + " seed " +
                            std::to_string(o.common.seed) + " bilinear";
    cache_report report;
    both = cached_features(o.words.cache,
                           {.encoder = m.fingerprint,
                            .words = pictures,
                            .templates = prompt,
                            .arithmetic = arithmetic_of(ctx, o.text),
                            .template_mean = how,
                            .width = texts.cols(),
                            .rows_each = 2 * q},
                           compute, &report);
    if (report.hit) note(o.common, std::to_string(list.size()) + " images' crops from " + o.words.cache);
    if (!report.refused.empty()) note(o.common, "computed anew: " + report.refused);
    if (!report.not_written.empty()) note(o.common, "crops not kept: " + report.not_written);
  }
  d.positives = host_matrix<real>(list.size() * q, texts.cols());
  d.negatives = d.positives;
  for (index_type r = 0; r < both.rows(); ++r) {
    const index_type image = r / (2 * q), j = r % (2 * q);
    auto to = j < q ? d.positives.row(image * q + j) : d.negatives.row(image * q + j - q);
    std::ranges::transform(both.row(r), to.begin(), [](float v) { return static_cast<real>(v); });
  }
  return out;
}

/// Pictures or features as they are, with a pool of outliers where one is given.
template <Backend B>
tuning_data<real_t<B>> samples(B& ctx, text_encoder<B>& model, const fit_options& o, const tuned_labels& labels,
                               const name_list& names) {
  using real = real_t<B>;
  tuning_data<real> out;
  auto& d = out.data;
  if (o.train.empty()) {
    out.source = o.train_features;
    d.positives = features_of_file<real>(o, o.train_features, labels);
    const auto given = read_labels(o.train_labels, {.rows = d.positives.rows(), .lowest = 0});
    d.labels.assign(given.begin(), given.end());
    merge_labels(d.labels, names, o.train_labels);
  } else {
    auto read = read_training_data(ctx, o, model.get(), names);
    out.source = read.source;
    d.positives = std::move(read.features.features);
    d.labels = std::move(read.features.labels);
  }
  check_labels(d.labels, out.source, names.names.size());
  d.pooled = true;
  if (!o.tuning.outlier_features.empty())
    d.negatives = features_of_file<real>(o, o.tuning.outlier_features, labels);
  else
    note(o.common, "there are no outliers: L_n is left out");
  return out;
}

}  // namespace

template <Backend B>
tuning_data<real_t<B>> read_tuning_data(B& ctx, text_encoder<B>& model, const fit_options& o,
                                        const krnft_options& options, const tuned_labels& labels) {
  const auto usage = [](std::string what, std::string_view hint) {
    fail(error_category::usage, "negood.cli.6", "fit", std::move(what), hint);
  };
  const auto names = read_class_names(o.common, o.names, o.text);
  const bool crops = !o.tuning.crop_features.empty(), pool = !o.tuning.outlier_features.empty();
  if (crops + !o.train.empty() + !o.train_features.empty() != 1)
    usage("give one of --train, --train-features and --crop-features",
          "pictures, their features, or features of crops");
  if (crops && pool) usage("--crop-features with --outlier-features", "crops bring their own negatives");
  if (!o.train_features.empty() && o.train_labels.empty())
    usage("--train-features without --train-labels", "one label a row");
  if (!o.train.empty() && !model.given()) usage("--train without --model", "its image tower encodes the pictures");
  if (o.views != 0) usage("--views with " + o.method, "--crops are its random views");
  if ((o.tuning.crops || o.tuning.keep) && (o.train.empty() || pool))
    usage("--crops and --keep without pictures to crop", "they belong to --train alone");
  tuning_data<real_t<B>> out = crops                     ? crops_as_features<real_t<B>>(o, labels, names)
                               : pool || o.train.empty() ? samples(ctx, model, o, labels, names)
                                                         : crops_of_pictures(ctx, model, o, options, names);
  if (labels.negatives.features.rows() == 0 && out.data.negatives.rows() > 0) {
    note(o.common, "there are no negative labels: outliers and L_n are left out");
    out.data.negatives = {};
  }
  return out;
}

#define NEGOOD_CLI_TUNING_DATA(B)                                                                                  \
  template tuning_data<real_t<B>> read_tuning_data(B&, text_encoder<B>&, const fit_options&, const krnft_options&, \
                                                   const tuned_labels&);
NEGOOD_CLI_EACH_BACKEND(NEGOOD_CLI_TUNING_DATA)
#undef NEGOOD_CLI_TUNING_DATA

}  // namespace negood::cli
