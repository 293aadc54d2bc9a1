// What every command but fit is told on the command line.
#include "arguments.hpp"

namespace negood::cli {

namespace {

/// Finite numbers only: strtod also reads nan and inf.
const CLI::Validator finite(
    [](std::string& text) {
      return parse_number<double>(text.starts_with('+') ? std::string_view(text).substr(1) : std::string_view(text))
                 ? std::string()
                 : "'" + text + "' is not a finite number";
    },
    "NUMBER");

}  // namespace

void add_common(CLI::App& to, common_options& o) {
  auto* const group = to.add_option_group("Common options");
  group
      ->add_option("--backend", o.backend,
                   "What computes, of those built in: " + built_in_backends() + ". The reference is plain loops in f64")
      ->capture_default_str();
  group->add_option("--precision", o.precision,
                    "Arithmetic of products: f32, bf16x3 (as good as f32, faster), bf16 (rough), f64 [f32]");
  group->add_option("--threads", o.threads, "Threads; 0: all this process may use. Results do not depend on it")
      ->capture_default_str();
  group->add_option("--seed", o.seed, "Seed of everything random")->capture_default_str();
  group->add_option("--progress", o.progress, "On stderr: auto (a bar on a terminal), plain, json, off")
      ->capture_default_str();
  group->add_flag("--json", o.json, "The result as one line of JSON on stdout, and nothing else there");
  group->add_flag("--quiet", o.quiet, "No remarks, no progress, no text on stdout");
}

void add_rows(CLI::App& to, row_options& o) {
  to.add_option("--nan", o.nan, "Rows with NaN or infinities: reject, skip (score NaN), ood (lowest score)")
      ->capture_default_str();
  to.add_option("--zero-norm", o.zero_norm, "Rows of zeros: reject, ood (lowest score)")->capture_default_str();
  to.add_flag("--assume-normalized", o.assume_normalized, "Take rows as they are instead of making them unit rows");
  to.add_option("--dequant", o.dequant, "What one step of integer features stands for; without it integers are refused")
      ->check(finite);
}

void add_encode(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("encode", "Image or text features of a CLIP model, unit rows");
  auto o = on_parse<encode_options>(sub, run, run_encode);
  sub.add_option("--model", o->model, "Model folder; demo is the embedded model")->required();
  sub.add_option("--images", o->images.images, "Image list ('path label' a line, .csv), or a folder of class folders");
  sub.add_option("--root", o->images.root, "Paths of the list are relative to it [the list's folder]");
  sub.add_option("--texts", o->texts, "Names or words, one a line");
  sub.add_option("--template", o->text.templates,
                 "Text with {} for the name; several: the normalised mean of their features (Radford et al. 2021) "
                 "[\"a photo of a {}.\"]")
      ->take_all();
  sub.add_flag("--truncate", o->text.truncate, "Cut texts longer than the model's context instead of refusing them");
  sub.add_option("--dup", o->text.duplicates, "Names that stand twice: reject, keep, merge")->capture_default_str();
  sub.add_option("--out", o->out, "Features: .npy, or .safetensors, which also names the encoder")->required();
  sub.add_option("--labels-out", o->labels_out, "Writes the labels of the images as .npy");
  sub.add_flag("--raw", o->raw, "Keep the norms");
  add_common(sub, o->common);
}

void add_score(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("score", "One score an image, higher = more in-distribution");
  auto o = on_parse<score_options>(sub, run, run_score);
  sub.add_option("--detector", o->detector, "Detector file")->required();
  sub.add_option("--features", o->features, "Image features: .npy, or file.safetensors:name");
  sub.add_option("--images", o->images.images, "Image list or folder of class folders; needs --model");
  sub.add_option("--root", o->images.root, "Paths of the list are relative to it [the list's folder]");
  sub.add_option("--model", o->model, "Model folder, for --images");
  sub.add_option("--out", o->out, "Scores, .npy float64 [N]");
  sub.add_option("--predictions", o->predictions, "Also writes the nearest class of each image, .npy int64 [N]");
  sub.add_option("--shard", o->shard, "i/n: only the i-th of n runs of rows, 1 <= i <= n");
  add_rows(sub, o->rows);
  sub.add_flag("--force-encoder", o->force_encoder, "Go on with features of another encoder; recorded in the result");
  sub.add_flag("--stream", o->streaming,
               "Learn from images that look unknown, in the order given; needs --model for its text tower");
  add_stream(sub, o->stream);
  add_common(sub, o->common);
}

void add_select(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("select", "Choose negative words by their features");
  auto o = on_parse<select_options>(sub, run, run_select);
  sub.add_option(
         "--method", o->method,
         "neglabel (Jiang et al. 2024), csp (Chen et al. 2024), clipscope (Fu et al. 2024), interneg (Xu et al.)")
      ->required();
  sub.add_option("--candidates", o->candidates, "Features of the words, [M, D]")->required();
  sub.add_option("--words", o->words, "The words, one a line; a part of speech may follow after a tab")->required();
  sub.add_option("--tags", o->tags, "Parts of speech, one a line");
  sub.add_option("--id-text", o->id_text, "Text features of the classes, [C, D]")->required();
  sub.add_option("--proxies", o->proxies, "interneg: image proxies of the classes, [C, D]");
  sub.add_option("-m,--count", o->count, "How many words")->capture_default_str();
  sub.add_option("--quota", o->quota, "pos: every part of speech has its share; none: one ranking")
      ->capture_default_str();
  sub.add_option("--percentile", o->percentile, "neglabel, csp: percentile of the similarities to the classes")
      ->capture_default_str();
  sub.add_option("--percentile-rule", o->percentile_rule, "neglabel: floor, interpolated; csp interpolates")
      ->capture_default_str();
  sub.add_option("--out", o->out, "JSON: selected words with rank and key, vetoes by class")->required();
  add_rows(sub, o->rows);
  add_common(sub, o->common);
}

void add_decide(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("decide", "Label, score, known or unknown, for each picture");
  auto o = on_parse<decide_options>(sub, run, run_decide);
  sub.add_option("--detector", o->detector, "Calibrated detector file")->required();
  sub.add_option("--model", o->model, "Model folder");
  sub.add_option("--features", o->features, "Features instead of pictures");
  sub.add_option("images", o->images, "Pictures, JPEG or PNG");
  sub.add_flag("--fail-on-ood", o->fail_on_ood, "Exit with 1 if a picture is unknown");
  add_rows(sub, o->rows);
  sub.add_flag("--force-encoder", o->force_encoder, "Go on with another encoder than the detector's");
  add_common(sub, o->common);
}

void add_calibrate(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("calibrate", "A threshold from ID scores alone, with its confidence interval");
  auto o = on_parse<calibrate_options>(sub, run, run_calibrate);
  sub.add_option("--detector", o->detector, "Detector file")->required();
  sub.add_option("--scores", o->scores, "Scores of ID images that the detector did not learn from, .npy")->required();
  auto* const recall = sub.add_option("--id-recall", o->id_recall, "Share of ID images to accept, in (0, 1]")
                           ->capture_default_str()
                           ->check(finite);
  sub.add_option("--conformal-alpha", o->conformal_alpha,
                 "Split conformal instead: at most this share of new ID images is rejected (Vovk et al. 2005)")
      ->check(finite)
      ->excludes(recall);
  sub.add_option("--confidence", o->confidence, "Of the Clopper-Pearson interval around the recall")
      ->capture_default_str()
      ->check(finite);
  sub.add_option("--nan", o->nan, "NaN scores: reject, skip (left out and counted)")->capture_default_str();
  sub.add_option("--out", o->out, "The detector with its threshold; may be the same file")->required();
  add_common(sub, o->common);
}

void add_eval(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("eval", "AUROC, AUPR and FPR at a recall of ID scores against OOD scores");
  auto o = on_parse<eval_options>(sub, run, run_eval);
  sub.add_option("--id", o->id, "Scores of ID images, .npy")->required();
  sub.add_option("--ood", o->ood, "NAME=scores.npy; several sets may be given")->take_all();
  sub.add_option("--convention", o->convention,
                 "FPR columns of the tables: all, id_positive_nearest (MCM's, NegLabel's and NegPrompt's code), "
                 "id_positive_first, ood_positive_first (OpenOOD since 1.5)")
      ->capture_default_str();
  sub.add_option("--recall", o->recall, "The recall at which the FPR is taken")->capture_default_str()->check(finite);
  sub.add_option("--format", o->format, "text, json, csv, markdown, latex, html [text; json under --json]");
  sub.add_option("--id-labels", o->id_labels, "Labels of the ID images, for the accuracy");
  sub.add_option("--predictions", o->predictions, "Predicted classes of the ID images (score --predictions)");
  sub.add_option("--nan", o->nan, "NaN scores: reject, skip (left out and counted)")->capture_default_str();
  sub.add_option("--out", o->out, "Writes the table to a file instead of stdout");
  add_common(sub, o->common);
}

void add_inspect(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("inspect", "What is in a model folder, detector, safetensors or .npy file");
  auto o = on_parse<inspect_options>(sub, run, run_inspect);
  sub.add_option("file", o->file, "File or model folder")->required();
  add_common(sub, o->common);
}

void add_demo(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("demo", "The main job on the embedded model and images, with a report");
  auto o = on_parse<demo_command_options>(sub, run, run_demo_command);
  sub.add_option("--out", o->out, "Folder for report.html, results.json and the detectors")->capture_default_str();
  sub.add_option("--fashion", o->fashion, "Folder of Fashion-MNIST's idx.gz files (Debian: dataset-fashion-mnist)")
      ->capture_default_str();
  sub.add_option("--seeds", o->seeds, "Runs, each with its own few-shot sample")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  add_common(sub, o->common);
}

}  // namespace negood::cli
