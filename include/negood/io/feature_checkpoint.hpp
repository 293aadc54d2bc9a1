/// \file feature_checkpoint.hpp  Checkpoints of the training of a feature map, kept like those of prompts.
#pragma once

#include <negood/feature/krnft_training.hpp>
#include <negood/io/checkpoint.hpp>

namespace negood {

/// Writes a checkpoint and keeps the one before it; see `save_checkpoint` of prompts. Residuals are stored as they are,
/// `pos.alpha` as alpha - 1, so that a run that goes on has lost no bit. \throws error negood.io.6
template <class Real>
void save_checkpoint(const krnft_checkpoint<Real>& c, const std::filesystem::path& path, const std::string& run = {},
                     file_system& calls = default_file_system()) {
  safetensors_writer out;
  sha256 content;
  const auto add = [&](const std::string& name, const host_matrix<Real>& m) {
    if (m.empty()) return;
    out.add(name, m);
    content.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(Real));
  };
  std::size_t next = 0;
  for (std::size_t part = 0; part < c.parameters.parts.size(); ++part)
    for_each_tensor(c.parameters.parts[part], [&](const char* name, const host_matrix<Real>& m) {
      const std::string full = c.parameters.part_name(part) + "." + name;
      add(full, m);
      add("first." + full, c.first.at(next));
      add("second." + full, c.second.at(next));
      ++next;
    });
  out.metadata("format", "negood.feature_checkpoint/1");
  out.metadata("run", run);
  out.metadata("step", std::to_string(c.step));
  out.metadata("content_sha256", content.hex_digest());
  detail::keep_previous_checkpoint(path, calls);
  out.save(path, calls);
}

/// The newest valid checkpoint of a run whose map has the form of `form`; nothing where there is no file.
/// \throws error negood.checkpoint.1 for another run's or precision's, .3 where there are files and none is valid
template <class Real>
std::optional<krnft_checkpoint<Real>> load_checkpoint(const feature_parameters<Real>& form,
                                                      const std::filesystem::path& path, const std::string& run = {},
                                                      std::string* note = nullptr) {
  return detail::newest_valid_checkpoint(path, note, [&](const std::filesystem::path& candidate) {
    const auto file = safetensors_file::read(candidate);
    detail::check_format(file, "negood.feature_checkpoint", 1);
    detail::require_run(file, candidate, run);
    krnft_checkpoint<Real> c{0, form, {}, {}};
    sha256 content;
    const auto damaged = [&](const std::string& what) {
      fail(error_category::artifact, "negood.checkpoint.2", candidate.string(), "is damaged: " + what);
    };
    const auto read = [&](const std::string& name, const host_matrix<Real>& like) {
      if (like.empty()) return like;
      auto m = detail::checkpoint_tensor<Real>(file, candidate, name);
      if (m.rows() != like.rows() || m.cols() != like.cols())
        damaged(name + " is " + shape_string(m.rows(), m.cols()) + ", not " + shape_string(like.rows(), like.cols()));
      content.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(Real));
      return m;
    };
    for (std::size_t part = 0; part < c.parameters.parts.size(); ++part)
      for_each_tensor(c.parameters.parts[part], [&](const char* name, host_matrix<Real>& m) {
        const std::string full = form.part_name(part) + "." + name;
        const auto like = std::move(m);
        m = read(full, like);
        c.first.push_back(read("first." + full, like));
        c.second.push_back(read("second." + full, like));
      });
    const auto step = detail::metadata_number<index_type>(file, "step", "an integer");
    if (!step || *step < 0) detail::fail_metadata(file, "step", "an integer");
    c.step = *step;
    if (content.hex_digest() != detail::required_metadata(file, "content_sha256", "a hash"))
      damaged("its content has another hash");
    return c;
  });
}

}  // namespace negood
