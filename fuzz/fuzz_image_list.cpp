// Image lists, text and CSV, and labels as text.
#include "fuzz.hpp"

#include <negood/io/image_list.hpp>

using namespace negood;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(byte_view(data, size));
  for (const image_list_format format : {image_list_format::text, image_list_format::csv})
    fuzz::accepts([&] {
      const image_list list = parse_image_list(text, "list", {.format = format, .classes = 1000});
      fuzz::must(list.paths.size() == list.labels.size() && !list.paths.empty());
      for (const std::string& path : list.paths) {
        fuzz::must(!path.empty() && path.front() != '/' && path.find('\0') == std::string::npos);
        const std::filesystem::path normal = std::filesystem::path(path).lexically_normal();
        fuzz::must(normal.begin() == normal.end() || *normal.begin() != "..");
      }
      for (const index_type label : list.labels) fuzz::must(label >= -2 && label < 1000);
    });
  fuzz::accepts([&] {
    for (const std::int64_t label : parse_labels(byte_view(data, size), "labels", {.classes = 10, .lowest = 0}))
      fuzz::must(label >= 0 && label < 10);
  });
  return 0;
}
