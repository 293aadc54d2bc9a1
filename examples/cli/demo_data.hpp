// The pictures of the demonstration: Fashion-MNIST from its Debian package, emoji and letters from models/, textures
// made here.
#pragma once

#include <negood/clip/image.hpp>
#include <negood/io/idx.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace negood::demo {

/// Pictures without labels, made or read on demand.
struct picture_set {
  std::string name, description;
  bool near = false;
  index_type count = 0;
  std::function<image(index_type)> load;
  std::vector<std::string> truth;  ///< what each picture shows, for captions; may be empty
};

struct fashion {
  idx_images train, test;
  std::vector<index_type> train_labels, test_labels;
};

/// Reads the four idx.gz files of `folder`; says which Debian package has them if they are not there.
fashion read_fashion(const std::filesystem::path& folder);

/// All PNG files below `folder`, by name.
picture_set read_pictures(const std::filesystem::path& folder, std::string name, std::string description);

/// Uniform noise, checkerboards, stripes and gradients, `side` pixels square; counter-based, so always the same.
picture_set make_textures(index_type count, index_type side, std::uint64_t seed);

}  // namespace negood::demo
