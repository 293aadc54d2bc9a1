#include "demo_data.hpp"

#include <negood/io/image.hpp>
#include <negood/train/random.hpp>

#include <algorithm>
#include <cmath>
#include <memory>

namespace negood::demo {

fashion read_fashion(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    fail(error_category::io, "negood.demo.1", "demo", "there is no folder " + folder.string(),
         "install the Debian package dataset-fashion-mnist, or name the folder with --data");
  return {read_idx_images(folder / "train-images-idx3-ubyte.gz"), read_idx_images(folder / "t10k-images-idx3-ubyte.gz"),
          read_idx_labels(folder / "train-labels-idx1-ubyte.gz"),
          read_idx_labels(folder / "t10k-labels-idx1-ubyte.gz")};
}

picture_set read_pictures(const std::filesystem::path& folder, std::string name, std::string description) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(folder))
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && entry.path().extension() == ".png") files.push_back(entry.path());
  if (files.empty())
    fail(error_category::io, "negood.demo.2", "demo", "there are no pictures in " + folder.string(),
         "run from a complete copy of the project or an installation");
  std::ranges::sort(files);
  picture_set set{std::move(name), std::move(description), false, static_cast<index_type>(files.size()), {}, {}};
  for (const auto& file : files) set.truth.push_back(file.stem().string());
  set.load = [files](index_type i) { return read_png(files[static_cast<std::size_t>(i)]); };
  return set;
}

picture_set make_textures(index_type count, index_type side, std::uint64_t seed) {
  static const char* const kinds[] = {"noise", "checkerboard", "stripes", "gradient"};
  picture_set set{
      "far: textures", "noise, checkerboards, stripes and gradients made by this program", false, count, {}, {}};
  for (index_type i = 0; i < count; ++i) set.truth.emplace_back(kinds[i % 4]);
  set.load = [side, seed](index_type i) {
    random_sequence draw(seed, random_purpose::demonstration, static_cast<std::uint64_t>(i));
    const auto period = static_cast<double>(2 + draw.next_below(5));
    const double angle = draw.next_uniform(0, 3.14159265358979), low = draw.next_uniform(0, 100),
                 high = draw.next_uniform(155, 255);
    const double cx = std::cos(angle) / period, cy = std::sin(angle) / period;
    image out(side, side);
    for (index_type y = 0; y < side; ++y)
      for (index_type x = 0; x < side; ++x) {
        double v = 0;  // in [0, 1]
        switch (i % 4) {
          case 0:
            v = draw.next_uniform();
            break;
          case 1:
            v = (static_cast<index_type>(static_cast<double>(x) / period) +
                 static_cast<index_type>(static_cast<double>(y) / period)) %
                            2 ==
                        0
                    ? 1
                    : 0;
            break;
          case 2:
            v = std::sin(3.14159265358979 * (static_cast<double>(x) * cx + static_cast<double>(y) * cy)) > 0 ? 1 : 0;
            break;
          default:
            v = 0.5 + 0.5 * (static_cast<double>(x) / static_cast<double>(side) - 0.5) * std::cos(angle) * 1.4 +
                0.5 * (static_cast<double>(y) / static_cast<double>(side) - 0.5) * std::sin(angle) * 1.4;
        }
        const auto grey = static_cast<std::uint8_t>(std::lround(std::clamp(low + v * (high - low), 0.0, 255.0)));
        for (index_type c = 0; c < 3; ++c) out.rgb[static_cast<std::size_t>((y * side + x) * 3 + c)] = grey;
      }
    return out;
  };
  return set;
}

}  // namespace negood::demo
