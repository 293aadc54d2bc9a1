/// \file stream_files.hpp  Files of a stream: the attempts a memory was built from, and the checkpoint of a run.
#pragma once

#include <negood/io/detector_memory.hpp>
#include <negood/stream/streaming.hpp>

namespace negood {

/// Inverted features in the order they were offered to a memory. Offered again to the same detector with the same
/// guards they build the same memory, to the byte, without any image.
struct stream_attempts {
  std::vector<observation> who;
  host_matrix<float> features;  ///< `[n, D]`
};

/// Writes `negood.attempts/1`: tensors `features [n, D]`, `sequence [n]`, `source [n]`.
inline void save(const stream_attempts& a, const std::filesystem::path& path,
                 file_system& calls = default_file_system()) {
  std::vector<std::uint64_t> sequence, source;
  for (const auto& w : a.who) {
    sequence.push_back(w.sequence);
    source.push_back(w.source);
  }
  safetensors_writer out;
  out.metadata("format", "negood.attempts/1");
  out.add("features", a.features);
  out.add<std::uint64_t>("sequence", {sequence.size()}, sequence);
  out.add<std::uint64_t>("source", {source.size()}, source);
  out.save(path, calls);
}

/// \throws error negood.file.* for another kind of file, tensors that do not fit together, NaN
inline stream_attempts load_attempts(const std::filesystem::path& path) {
  const auto file = safetensors_file::read(path);
  detail::check_format(file, "negood.attempts", 1);
  stream_attempts out;
  out.features = detail::unit_tensor(file, "features");
  const auto sequence = file.tensor<std::uint64_t>("sequence"), source = file.tensor<std::uint64_t>("source");
  if (sequence.size() != out.features.rows() || source.size() != out.features.rows())
    fail(error_category::artifact, "negood.file.4", file.name(),
         "features is " + shape_string(out.features.rows(), out.features.cols()) + ", there are " +
             std::to_string(sequence.size()) + " sequence numbers and " + std::to_string(source.size()) + " sources",
         "one each");
  for (index_type i = 0; i < out.features.rows(); ++i) out.who.push_back({sequence.data()[i], source.data()[i]});
  return out;
}

/// A run that was stopped: what it has said and what it has learned. `run` names detector, images and options.
struct stream_checkpoint {
  std::string run;
  std::vector<stream_answer> answers;
  interneg_state learned;
};

namespace detail {

/// The columns of answers in a checkpoint, by name.
template <class F>
void for_each_column(F&& f) {
  f("score", &stream_answer::score);
  f("log_odds", &stream_answer::log_odds);
  f("margin", &stream_answer::margin);
  f("inversion_cosine", &stream_answer::inversion_cosine);
  f("label", &stream_answer::label_index);
  f("version", &stream_answer::memory_version);
}

}  // namespace detail

/// Writes `negood.stream/1`. `texts` is the detector the stream runs with; its own memory is replaced by that learned.
inline void save(const stream_checkpoint& c, detector_record texts, const std::filesystem::path& path,
                 file_system& calls = default_file_system()) {
  texts.learned = c.learned;
  safetensors_writer out;
  out.metadata("format", "negood.stream/1");
  out.metadata("run", c.run);
  detail::write_memory(out, texts);
  detail::for_each_column([&](const char* name, auto member) {
    std::vector<std::remove_cvref_t<decltype(c.answers[0].*member)>> column;
    for (const auto& a : c.answers) column.push_back(a.*member);
    out.add<typename decltype(column)::value_type>(std::string("answers.") + name, {column.size()}, column);
  });
  std::vector<std::int64_t> outcomes;
  for (const auto& a : c.answers) outcomes.push_back(static_cast<std::int64_t>(a.outcome));
  out.add<std::int64_t>("answers.outcome", {outcomes.size()}, outcomes);
  out.save(path, calls);
}

/// \throws error negood.checkpoint.1 (usage) for another run's checkpoint, negood.file.* where it is damaged
inline stream_checkpoint load_stream_checkpoint(detector_record texts, const std::filesystem::path& path,
                                                const std::string& run) {
  const auto file = safetensors_file::read(path);
  detail::check_format(file, "negood.stream", 1);
  if (detail::required_metadata(file, "run", "the name of a run") != run)
    fail(error_category::usage, "negood.checkpoint.1", path.string(), "belongs to a run with other images or options",
         "resume with the options of that run, or start without --resume");
  texts.learned.reset();
  detail::read_memory(file, texts);
  if (!texts.learned)
    fail(error_category::artifact, "negood.file.4", file.name(), "it holds no memory", "start without --resume");
  const auto outcomes = file.tensor<std::int64_t>("answers.outcome");
  stream_checkpoint out{run, std::vector<stream_answer>(static_cast<std::size_t>(outcomes.size())),
                        std::move(*texts.learned)};
  const auto fits = [&](bool good) {
    if (!good) fail(error_category::artifact, "negood.file.4", file.name(), "its answers do not fit together");
  };
  detail::for_each_column([&](const char* name, auto member) {
    using T = std::remove_cvref_t<decltype(out.answers[0].*member)>;
    const auto column = file.tensor<T>(std::string("answers.") + name);
    fits(column.size() == outcomes.size());
    for (std::size_t i = 0; i < out.answers.size(); ++i) out.answers[i].*member = column.values()[i];
  });
  for (std::size_t i = 0; i < out.answers.size(); ++i) {
    fits(outcomes.values()[i] >= 0 && outcomes.values()[i] <= static_cast<std::int64_t>(admission::quarantined));
    out.answers[i].outcome = static_cast<admission>(outcomes.values()[i]);
  }
  return out;
}

}  // namespace negood
