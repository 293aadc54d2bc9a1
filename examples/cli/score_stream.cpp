// negood score --stream: detectors that learn from the images they score, in the order these are given.
#include "stream_settings.hpp"

#include <negood/io/atomic_file.hpp>
#include <negood/io/detector.hpp>
#include <negood/io/labels.hpp>
#include <negood/io/stream_files.hpp>
#include <negood/stream/adaneg.hpp>
#include <negood/stream/clipscope.hpp>
#include <negood/stream/reference_batch.hpp>

#include <map>

namespace negood::cli {
namespace {

/// The images in the order they are given, and whose they are.
template <class Real>
struct stream_input {
  host_matrix<Real> features;
  std::vector<observation> who;
  std::string sha256;  ///< of features and sources in this order (F-41)
};

template <Backend B>
stream_input<real_t<B>> read_input(B& ctx, const score_options& o, const clip::model<B>* m, const detector_record& r) {
  using real = real_t<B>;
  stream_input<real> in;
  std::string source = o.features;
  if (!o.features.empty()) {
    check_encoder(o.common, fingerprint_of_features(o.features), o.features, r.encoder_fingerprint, o.detector,
                  o.force_encoder);
    in.features = read_unit_features<real>(o.common, o.features, o.rows, true).rows;
  } else {
    in.features = encode_with_progress(ctx, o.common, *m, read_images(o.images)).features;
    source = o.images.images;
  }
  check_same_width(in.features.cols(), source, r.positive.cols(), o.detector);
  std::vector<std::int64_t> sources(static_cast<std::size_t>(in.features.rows()), 0);
  if (!o.stream.sources.empty()) sources = read_labels(o.stream.sources, {.rows = in.features.rows(), .lowest = 0});
  const std::uint64_t first = r.learned && r.learned->last_sequence ? *r.learned->last_sequence + 1 : 0;
  sha256 order;
  order.update(in.features.data(), static_cast<std::size_t>(in.features.size()) * sizeof(real));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    in.who.push_back({first + i, static_cast<std::uint64_t>(sources[i])});
    order.update_u64(in.who.back().source);
  }
  in.sha256 = order.hex_digest();
  return in;
}

/// Observes all images from `answers.size()` on, some at a time; `after(answered)` is called between.
template <class Stream, class Real, class After>
void observe_all(const common_options& o, Stream& stream, const stream_input<Real>& in, index_type block,
                 std::vector<stream_answer>& answers, After&& after) {
  progress bar(o, "images", in.features.rows());
  while (static_cast<index_type>(answers.size()) < in.features.rows()) {
    after();
    const auto first = static_cast<index_type>(answers.size());
    const auto n = std::min(block, in.features.rows() - first);
    const auto rows = in.features.view().slice_rows(first, n);
    const auto some =
        stream.observe(host_matrix<Real>(n, in.features.cols(), std::vector<Real>(rows.data, rows.data + rows.size())),
                       std::span(in.who).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)));
    answers.insert(answers.end(), some.begin(), some.end());
    bar.update(static_cast<index_type>(answers.size()));
  }
}

/// Scores, predictions and log, and what the result says of any stream.
template <class Real>
ordered_json write_answers(const score_options& o, const detector_record& r, const stream_input<Real>& in,
                           const std::vector<stream_answer>& answers) {
  std::vector<double> scores;
  std::vector<index_type> predictions;
  std::map<std::string_view, index_type> outcomes;
  std::string log;
  for (const auto& a : answers) {
    if (!o.stream.log_out.empty())
      log += dump_json(ordered_json{{"sequence", in.who[scores.size()].sequence},
                                    {"score", a.score},
                                    {"label", a.label_index},
                                    {"outcome", format_admission(a.outcome)},
                                    {"margin", a.margin},
                                    {"inversion_cosine", a.inversion_cosine},
                                    {"memory_version", a.memory_version}}) +
             "\n";
    scores.push_back(a.score);
    predictions.push_back(a.label_index);
    ++outcomes[format_admission(a.outcome)];
  }
  write_npy(o.out, scores);
  if (!o.predictions.empty()) write_npy(o.predictions, predictions);
  if (!o.stream.log_out.empty()) write_file(o.stream.log_out, log);
  return {{"out", o.out},
          {"n", scores.size()},
          {"method", r.method},
          {"semantics", o.stream.semantics},
          {"order_sha256", in.sha256},
          {"outcomes", outcomes}};
}

template <Backend B>
prompt_bank<B> bank_of(B& ctx, const detector_record& r) {
  const auto device = [&](const host_matrix<float>& x) { return ctx.from_host(cast<real_t<B>>(x).view()); };
  return make_prompt_bank(ctx, device(r.positive), device(r.negative), r.logit_scale);
}

/// Which run a checkpoint belongs to.
template <class Real>
std::string run_of(const score_options& o, const detector_record& r, const interneg_options& settings,
                   const stream_input<Real>& in) {
  const auto file = read_file(o.detector);
  sha256 h;
  h.update(file.data(), file.size()).update(in.sha256).update(r.method);
  h.update(dump_json(interneg_settings_json(settings))).update_u64(settings.inversion.seed).update_u64(sizeof(Real));
  h.update(o.stream.admission).update(o.stream.canaries);
  return h.hex_digest();
}

template <Backend B>
host_matrix<real_t<B>> read_canaries(const score_options& o, const detector_record& r) {
  if (o.stream.canaries.empty()) return {};
  auto out = read_unit_features<real_t<B>>(o.common, o.stream.canaries, o.rows).rows;
  check_same_width(out.cols(), o.stream.canaries, r.positive.cols(), o.detector);
  return out;
}

/// The detector that goes on from here. Scores against other negatives want another threshold.
void save_learned(const score_options& o, detector_record r, const interneg_state& state,
                  const interneg_options& settings) {
  if (o.stream.memory_out.empty()) return;
  r.learned = state;
  r.threshold.reset();
  r.threshold_policy.clear();
  attach_settings(r, settings);
  save(r, o.stream.memory_out);
}

ordered_json describe(const interneg_state& s) {
  return {{"memory", s.memory.size()}, {"memory_version", s.memory.version()}, {"drifted", s.drifted}};
}

template <Backend B>
int replay(B& ctx, const score_options& o, const clip::model<B>& m, const detector_record& r) {
  const auto settings = interneg_settings(o, r);
  interneg_stream<B> stream(ctx, clip::require_text(m, "--stream"), m.tokenizer, bank_of(ctx, r),
                            inter_modal_distances(r.positive.view(), r.proxies.view()), settings,
                            read_canaries<B>(o, r));
  if (r.learned) stream.restore(*r.learned);
  const auto log = load_attempts(o.stream.replay);
  check_same_width(log.features.cols(), o.stream.replay, r.positive.cols(), o.detector);
  std::map<std::string_view, index_type> outcomes;
  for (index_type i = 0; i < log.features.rows(); ++i) {
    const auto v = log.features.row(i);
    ++outcomes[format_admission(stream.consider({v.begin(), v.end()}, log.who[static_cast<std::size_t>(i)]))];
  }
  auto state = stream.state();
  if (!log.who.empty()) state.last_sequence = log.who.back().sequence;
  save_learned(o, r, state, settings);
  auto j = describe(state);
  j["attempts"] = log.features.rows();
  j["outcomes"] = outcomes;
  j["memory_out"] = o.stream.memory_out;
  say(o.common, escape(o.stream.memory_out) + ": " + std::to_string(state.memory.size()) + " rows of memory from " +
                    std::to_string(log.features.rows()) + " attempts");
  result(o.common, j);
  return 0;
}

template <Backend B>
int interneg(B& ctx, const score_options& o, const clip::model<B>& m, const detector_record& r) {
  const auto settings = interneg_settings(o, r);
  const auto in = read_input(ctx, o, &m, r);
  interneg_stream<B> stream(ctx, clip::require_text(m, "--stream"), m.tokenizer, bank_of(ctx, r),
                            inter_modal_distances(r.positive.view(), r.proxies.view()), settings,
                            read_canaries<B>(o, r));
  if (r.learned) stream.restore(*r.learned);
  std::vector<stream_answer> answers;
  const auto run = run_of(o, r, settings, in);
  const std::filesystem::path checkpoint = o.stream.checkpoint.empty() ? o.out + ".checkpoint" : o.stream.checkpoint;
  if (o.stream.resume && std::filesystem::exists(checkpoint)) {
    auto saved = load_stream_checkpoint(r, checkpoint, run);
    answers = std::move(saved.answers);
    stream.restore(std::move(saved.learned));
    note(o.common, checkpoint.string() + ": going on after " + std::to_string(answers.size()) + " images");
  }
  stream_attempts attempts;
  std::vector<float> attempted;
  if (!o.stream.attempts_out.empty()) {
    if (!answers.empty())
      fail(error_category::usage, "negood.cli.6", "--attempts-out", "a resumed run has seen only its last part",
           "start without --resume");
    stream.on_attempt = [&](const auto& a) {
      attempts.who.push_back(a.who);
      attempted.insert(attempted.end(), a.feature.begin(), a.feature.end());
    };
  }
  // A deferred or frozen memory does not change on the way: to begin again costs no inversion.
  const bool resumable = settings.mode == admission_mode::immediate;
  std::size_t saved_at = answers.size();
  observe_all(o.common, stream, in, 256, answers, [&] {
    if (stop_requested() && resumable) {
      save(stream_checkpoint{run, answers, stream.state()}, r, checkpoint);
      fail(error_category::interrupted, "negood.cli.9", "score",
           "stopped by a signal after " + std::to_string(answers.size()) + " images; wrote " + checkpoint.string(),
           "the same command with --resume goes on");
    }
    throw_if_stopped("score");
    const auto every = static_cast<std::size_t>(o.stream.checkpoint_every);
    if (every > 0 && resumable && answers.size() >= saved_at + every) {
      save(stream_checkpoint{run, answers, stream.state()}, r, checkpoint);
      saved_at = answers.size();
    }
  });
  ordered_json settled = ordered_json::object();
  for (const auto& [who, outcome] : stream.settle())
    settled[std::string(format_admission(outcome))] = settled.value(format_admission(outcome), 0) + 1;

  auto j = write_answers(o, r, in, answers);
  j.update(describe(stream.state()));
  if (!settled.empty()) j["settled"] = settled;
  if (!o.stream.attempts_out.empty()) {
    attempts.features =
        host_matrix<float>(static_cast<index_type>(attempts.who.size()), r.positive.cols(), std::move(attempted));
    save(attempts, o.stream.attempts_out);
    j["attempts_out"] = o.stream.attempts_out;
  }
  save_learned(o, r, stream.state(), settings);
  if (!o.stream.memory_out.empty()) j["memory_out"] = o.stream.memory_out;
  j["settings"] = interneg_settings_json(settings);
  std::error_code ignored;
  if (o.stream.checkpoint.empty()) std::filesystem::remove(checkpoint, ignored);
  if (stream.drifted())
    note(o.common, "the memory turned more than " + format_number(100 * settings.guards.drift_limit) +
                       " % of a window's decisions; it has learned nothing since");
  say(o.common, escape(o.out) + ": " + std::to_string(answers.size()) + " scores of interneg, " +
                    std::to_string(stream.memory().size()) + " rows of memory");
  result(o.common, j);
  return 0;
}

/// A stream whose state is not kept in the detector.
template <Backend B, class Stream>
int plain_stream(const score_options& o, const detector_record& r, Stream& stream, const stream_input<real_t<B>>& in,
                 index_type block) {
  std::vector<stream_answer> answers;
  observe_all(o.common, stream, in, block, answers, [] { throw_if_stopped("score"); });
  auto j = write_answers(o, r, in, answers);
  if constexpr (requires { stream.memory().size(); }) j["memory"] = stream.memory().size();
  if constexpr (requires { stream.bytes(); }) j["memory_bytes"] = stream.bytes();
  say(o.common, escape(o.out) + ": " + std::to_string(answers.size()) + " scores of " + r.method);
  result(o.common, j);
  return 0;
}

void refuse(const std::string& what, std::string_view hint) {
  fail(error_category::usage, "negood.cli.17", "--stream", what, hint);
}

template <Backend B>
int score_stream(B& ctx, const score_options& o) {
  auto r = load_detector_record(o.detector);
  const auto batch = batch_of_semantics(o.stream.semantics);
  if (r.method != "interneg" && r.method != "clipscope" && r.method != "adaneg")
    refuse(o.detector + " is a detector of method " + r.method,
           "interneg, adaneg and clipscope learn from a stream: negood fit --method interneg");
  if (!o.shard.empty()) refuse("a stream has one order: --shard does not go with it", "score all of it");
  if (r.method == "interneg" && r.proxies.rows() == 0)
    refuse(o.detector + " has no image proxies", "fit it with images: negood fit --method interneg --train");
  if (o.model.empty() && (r.method == "interneg" || o.features.empty()))
    fail(error_category::usage, "negood.cli.6", "score", "--stream needs --model",
         "its towers encode and invert images");
  std::optional<clip::model<B>> m;
  if (!o.model.empty()) {
    m.emplace(load_model(ctx, o.common, o.model));
    check_encoder(o.common, m->fingerprint, o.model, r.encoder_fingerprint, o.detector, o.force_encoder);
  }
  if (r.method != "interneg" || batch)
    for (const auto* given : {&o.stream.memory_out, &o.stream.attempts_out, &o.stream.replay, &o.stream.checkpoint})
      if (!given->empty()) refuse("memories are kept of sequential interneg only", "leave " + *given + " out");
  if (r.method == "interneg" && !batch)
    return o.stream.replay.empty() ? interneg(ctx, o, *m, r) : replay(ctx, o, *m, r);
  const auto in = read_input(ctx, o, m ? &*m : nullptr, r);
  const auto whole_batches = [&](index_type n) { return n * ((255 + n) / n); };
  if (r.method == "adaneg") {
    adaneg_stream<B> stream(ctx, bank_of(ctx, r), adaneg_settings(o, r));
    return plain_stream<B>(o, r, stream, in, whole_batches(batch.value_or(1)));
  }
  if (r.method == "clipscope") {
    clipscope_stream<B> stream(ctx, bank_of(ctx, r));
    return plain_stream<B>(o, r, stream, in, 256);
  }
  const auto s = interneg_settings(o, r);
  reference_batch_stream<B> stream(
      ctx, clip::require_text(*m, "--stream"), m->tokenizer, bank_of(ctx, r),
      inter_modal_distances(r.positive.view(), r.proxies.view()),
      {.beta = s.beta, .groups = o.stream.groups, .capacity = s.capacity, .batch = *batch, .inversion = s.inversion});
  return plain_stream<B>(o, r, stream, in, whole_batches(*batch));
}

}  // namespace

int run_score_stream(const score_options& o) {
  if (!o.stream.replay.empty() && o.stream.memory_out.empty())
    fail(error_category::usage, "negood.cli.6", "--replay", "--memory-out is missing",
         "the memory it builds goes there");
  if (o.stream.groups != 1 && !batch_of_semantics(o.stream.semantics))
    fail(error_category::usage, "negood.cli.6", "--groups", "sequential InterNeg has one group",
         "groups belong to --semantics reference-batch:N");
  return with_backend(o.common, [&](auto& ctx) { return score_stream(ctx, o); });
}

}  // namespace negood::cli
