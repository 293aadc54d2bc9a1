// What fit is told on the command line.
#include "arguments.hpp"

namespace negood::cli {

namespace {

void add_words(CLI::App& to, word_options& w) {
  to.add_option("--negatives-file", w.negatives_file,
                "Negative words or imagined labels, one a line, used as they are");
  to.add_option("--negative-features", w.negative_features, "Their features");
  to.add_option("--mine", w.mine,
                "Words to choose from: a list, a part of speech (n, a) may follow after a tab, or a WordNet folder "
                "(Debian: /usr/share/wordnet)");
  to.add_option("--exclude-files", w.exclude_files,
                "Lexicographer files to leave out; InterNeg's authors leave out noun.animal and noun.food");
  to.add_flag("--exact-names", w.exact_names,
              "Drop only words equal to a class name letter by letter, as released code does");
  to.add_option("--cache", w.cache, "Folder in which features of words are kept for the next run [none]");
  to.add_option("--negative-template", w.templates,
                "Templates of the words [--template; clipscope: \"a photo of a {}\", of the farthest]")
      ->take_all();
  to.add_option("--adjective-template", w.adjective_templates,
                "Templates of words tagged a (published: \"This is a {} photo.\") [--negative-template]")
      ->take_all();
  to.add_option("--mining-template", w.mining_template, "clipscope: template of the words while they are chosen")
      ->capture_default_str();
  to.add_option("--near-template", w.near_template, "clipscope: template of the words nearest to the classes")
      ->capture_default_str();
  to.add_option("--super-categories", w.super_categories,
                "csp: words that adjectives are joined to, one a line [14 of them, see docs/methods.md]");
  to.add_option("-m,--mine-count", w.count,
                "--mine: how many words; 0: neglabel, csp, eoe --mine-share, interneg 2000, clipscope 10000")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  to.add_option("--mine-share", w.share, "--mine: share of the words (Jiang et al. 2024: 0.15)")->capture_default_str();
  to.add_option("--percentile", w.percentile,
                "neglabel, csp, eoe, feature maps: percentile of the similarities to the classes (0.95 there)")
      ->capture_default_str();
  to.add_option("--too-near", w.too_near, "csp: words with a larger cosine to a class come last")
      ->capture_default_str();
  to.add_option("--rank", w.rank, "clipscope: the rank of the cosine that orders the words")->capture_default_str();
  to.add_option("--quota", w.quota,
                "pos: every part of speech has its share of the words (released code); none: one ranking")
      ->capture_default_str();
  to.add_option(
      "--groups", w.groups,
      "neglabel, csp: groups of negatives [neglabel 1, csp 100 where there are that many words]; feature maps: in "
      "training [10]");
}

}  // namespace

void add_fit(CLI::App& app, command& run) {
  auto& sub = *app.add_subcommand("fit", "Learn or build a detector");
  auto o = on_parse<fit_options>(sub, run, run_fit);
  sub.add_option(
         "--method", o->method,
         "mcm (Ming et al. 2022), msp (Hendrycks & Gimpel 2017), maxlogit (Hendrycks et al. 2022), energy (Liu et "
         "al. 2020), maxcosine, neglabel (Jiang et al. 2024), csp (Chen et al. 2024), adaneg (Zhang & Zhang 2024), "
         "clipscope (Fu et "
         "al. 2024), interneg (Xu et al.), eoe (Cao et al. 2024, with "
         "labels you supply), coop (Zhou et al. 2022, "
         "scored by MCM), negprompt (Li "
         "et al. 2024), krnft, nft, coft (Zhu et al. 2025), taskres (Yu et al. 2023), ssf (Lian et al. 2022)")
      ->required();
  sub.add_option("--model", o->model, "Model folder; demo is the embedded model");
  sub.add_option("--names", o->names, "Class names, one a line");
  sub.add_option("--out", o->out, "Detector file to write");
  sub.add_option("--dup", o->text.duplicates, "Names that stand twice: reject, keep, merge")->capture_default_str();
  sub.add_flag("--truncate", o->text.truncate, "Cut texts longer than the model's context instead of refusing them");
  sub.add_option("--temperature", o->temperature,
                 "mcm, coop, negprompt: cosines are divided by it in the score [1, as in both papers]");
  sub.add_option("--logit-scale", o->logit_scale, "The exponentiated scale [the model's]");
  sub.add_flag("--force-encoder", o->force_encoder, "Go on with features of another encoder; recorded in the detector");

  auto* const zero = sub.add_option_group("Class names as texts");
  zero->add_option("--template", o->text.templates,
                   "Text with {} for the name; several: their mean [\"a photo of a {}.\"]")
      ->take_all();
  zero->add_option("--text-features", o->text_features, "Text features of the names instead of a model");
  add_words(*sub.add_option_group("Negative words of neglabel, csp, eoe, clipscope, interneg and feature maps"),
            o->words);

  auto* const stream = sub.add_option_group("interneg: what score --stream starts from (also --beta, --steps)");
  stream->add_option("-k,--memory", o->memory, "Rows of the memory [2000]");
  stream
      ->add_option("--templates", o->inversion_texts,
                   "Of the inversion: text with {} or $, or a file with one a line [\"a photo of {}\"]")
      ->take_all();

  auto* const data =
      sub.add_option_group("Training data of coop, negprompt, feature maps and interneg (its image proxies)");
  data->add_option("--train", o->train, "Image list ('path label' a line, .csv), or a folder of class folders");
  data->add_option("--root", o->root, "Paths of the list are relative to it [the list's folder]");
  data->add_option("--views", o->views, "Random views an image, encoded once (CoOp's crops and flips); 0: one, centred")
      ->capture_default_str();
  data->add_option("--train-features", o->train_features,
                   "Image features instead of images; with --views V, V rows each");
  data->add_option("--train-labels", o->train_labels, "Their labels");
  data->add_option("--train-classes", o->train_classes,
                   "Classes to learn from: all, a share such as 10% (the first ones), or a file of names; the detector "
                   "is bound to all names")
      ->capture_default_str();
  add_rows(*data, o->rows);

  auto* const prompts =
      sub.add_option_group("coop and negprompt (defaults of preset paper; Li et al. 2024, CoOp's recipe)");
  prompts
      ->add_option(
          "--preset", o->preset,
          "paper, released-oe, released-msp (feature maps: paper, released); applied first, other options override it")
      ->capture_default_str();
  prompts->add_option("--ctx", o->ctx, "Context vectors [16]");
  prompts->add_option("--init", o->init,
                      "random (N(0, 0.02^2)), or the embeddings of a text such as \"a photo of a\" [random]");
  prompts->add_option("--init-file", o->init_file,
                      "safetensors with ctx_positive [n, d] and/or ctx_negative [p, n, d]; feature maps: with any of "
                      "their tensors");
  prompts->add_option("--suffix", o->suffix, "Follows every name: \".\" or \"\" [\".\"]");
  prompts->add_option("--positives", o->positives,
                      "Reuses the positive prompts of a detector or prompts file; no stage 1");
  prompts->add_option("--prompts", o->prompts, "Learns nothing: binds saved prompts to --names");
  prompts->add_option("--prompts-out", o->prompts_out, "Also saves the prompts without class names");
  prompts->add_option("--negatives", o->negatives, "p, negative prompts a class [2]");
  prompts->add_option("--beta", o->beta, "Weight of NPD, Eq. 5 [0.1]; eoe: of the imagined labels [0.25]");
  prompts->add_option("--gamma", o->gamma, "Weight of NND, Eq. 6 [0.05]");
  prompts->add_option("--nis", o->nis,
                      "NIS over: negatives (Eq. 4), all (released OE), multilabel (released MSP) [negatives]");
  prompts->add_option("--nnd", o->nnd, "NND: pairwise (Eq. 6), mean-norm (released) [pairwise]");
  prompts->add_option("--noise", o->noise, "Uniform noise that parts the copies of the positive context [1e-5]");
  prompts->add_flag("--csc", o->csc, "Class-specific contexts (CoOp); they cannot be bound to other names");
  prompts->add_flag("--one-stage", o->one_stage, "Positives and negatives together (the paper's Table 5)");

  add_tuning(sub, o->tuning);

  auto* const training = sub.add_option_group("Training of coop, negprompt and feature maps (their defaults last)");
  training->add_option("--epochs", o->epochs, "Epochs of coop [100], or of negprompt's second stage [10]");
  training->add_option("--stage1-epochs", o->stage1_epochs, "Epochs of the positives [100]");
  training->add_option("--stage2-epochs", o->stage2_epochs, "Epochs of the negatives [10]");
  training->add_option("--steps", o->steps,
                       "Exactly so many steps of stage 2 (coop: of stage 1); 0: by epochs [0]; feature maps [1200]");
  training->add_option("--stage1-steps", o->stage1_steps, "Exactly so many steps of stage 1; 0: by epochs [0]");
  training->add_option("--batch", o->batch, "Images a step [32 in stage 1, 64 in stage 2; feature maps 1]");
  training->add_option("--stage1-batch", o->stage1_batch, "Of stage 1 alone");
  training->add_option("--lr", o->lr,
                       "Learning rate [0.002, CoOp's; the paper gives none for stage 2; feature maps 1e-5]");
  training->add_option("--stage1-lr", o->stage1_lr, "Of stage 1 alone");
  training->add_option("--optimizer", o->optimizer, "sgd, adamw [sgd; feature maps adamw]");
  training->add_option("--momentum", o->momentum, "Of SGD [0.9]");
  training->add_option("--weight-decay", o->weight_decay, "[5e-4; feature maps 0.01]");
  training->add_option("--schedule", o->schedule,
                       "cosine (CoOp's, with its warm-up epoch), constant, released [cosine]");
  training->add_option("--shuffle", o->shuffle, "yes: a new order every epoch; no: rows in order [yes]");
  training->add_option(
      "--trace", o->trace,
      "Writes a line of JSON a step: losses, gradient norm, mean cosine; feature maps: largest |alpha - 1|, kappa");
  training->add_option("--checkpoint", o->checkpoint, "Checkpoint file [OUT.checkpoint, removed at the end]");
  training->add_option("--checkpoint-every", o->checkpoint_every, "Steps between checkpoints; 0: only when stopped")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  training->add_flag("--resume", o->resume, "Goes on from the checkpoint; the result is that of an uninterrupted run");
  add_common(sub, o->common);
}

}  // namespace negood::cli
