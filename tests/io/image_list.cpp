#include "io_test.hpp"

#include <negood/io/image.hpp>
#include <negood/io/image_list.hpp>

#include <sys/stat.h>

using namespace io_test;

namespace {

image_list list_of(std::string_view text, image_list_options options = {}) {
  return parse_image_list(text, "list.txt", options);
}

}  // namespace

TEST_CASE("image list: path and label split at the last blank, CRLF and byte order mark normalised") {
  const image_list l = list_of("\xef\xbb\xbfimagenet/a b.JPEG 0\r\n  c.png\t7  \r\n\r\nd.png -1\n");
  CHECK(l.paths == std::vector<std::string>{"imagenet/a b.JPEG", "c.png", "d.png"});
  CHECK(l.labels == std::vector<index_type>{0, 7, -1});
  for (const char* text : {"a.png\n", "a.png b\n", "7\n", "a.png 1.5\n", "a.png 1 x\n"})
    CHECK(code_of([&] { list_of(text); }) == "negood.list.2");
  CHECK(mentions(error_of([] { list_of("a 1\nb\n"); }), "line 2"));
  CHECK(code_of([] { list_of("\n"); }) == "negood.list.1");
  CHECK(code_of([] { list_of("a\xff 1\n"); }) == "negood.text.1");
  CHECK(code_of([] { list_of(std::string_view("a\0 1\n", 5)); }) == "negood.text.2");
  CHECK(code_of([] { list_of("a 1\nb 2\nc 3\n", {.entries = 2}); }) == "negood.list.3");
}

TEST_CASE("image list: CSV protocols without a header, with -1 and -2") {
  const image_list l =
      list_of("train/n01/a, b.JPEG,3\ntrain/c.JPEG,-1\nd.JPEG,-2\n", {.format = image_list_format::csv});
  CHECK(l.paths == std::vector<std::string>{"train/n01/a, b.JPEG", "train/c.JPEG", "d.JPEG"});
  CHECK(l.labels == std::vector<index_type>{3, -1, -2});
  CHECK(code_of([] { list_of("path,label\n", {.format = image_list_format::csv}); }) == "negood.list.2");
  CHECK(code_of([] { list_of("a,-3\n", {.format = image_list_format::csv}); }) == "negood.labels.2");
}

TEST_CASE("F-19 labels of an image list out of range, negative or above 2^31 are refused with their row") {
  const error e = error_of([] { list_of("a 0\nb 10\n", {.classes = 10}); });
  CHECK(e.code() == "negood.labels.2");
  CHECK(mentions(e, "row 1"));
  CHECK(code_of([] { list_of("a -1\n", {.lowest = 0}); }) == "negood.labels.2");
  CHECK(code_of([] { list_of("a 2147483648\n"); }) == "negood.labels.2");
  CHECK(code_of([] { list_of("a 99999999999999999999\n"); }) == "negood.list.2");
}

TEST_CASE("F-30 paths of a list stay under the root and lead to regular files") {
  for (const char* path :
       {"../a.png", "a/../../b.png", "/etc/passwd", "file:///etc/passwd", "http://x/y.png", "a/..", ".."}) {
    CAPTURE(path);
    CHECK(code_of([&] { list_of(std::string(path) + " 1\n"); }) == "negood.path.1");
  }
  CHECK(code_of([] { list_of(" 1\n"); }) == "negood.list.2");
  CHECK(code_of([] { list_of(std::string(5000, 'a') + " 1\n"); }) == "negood.path.1");
  CHECK(list_of("..a/b..png 1\n").size() == 1);

  scratch_folder outside, folder;
  write_file(outside / "secret.png", std::string_view("x"));
  std::filesystem::create_directory(folder / "root");
  const auto root = folder / "root";
  write_file(root / "in.png", std::string_view("x"));
  std::filesystem::create_symlink(outside / "secret.png", root / "escape.png");
  std::filesystem::create_symlink(outside.path(), root / "escape");
  std::filesystem::create_symlink(root / "in.png", root / "link.png");
  std::filesystem::create_symlink("/dev/zero", root / "zero.png");
  std::filesystem::create_symlink("loop.png", root / "loop.png");
  std::filesystem::create_directory(folder / "root-beside");
  write_file(folder / "root-beside" / "a.png", std::string_view("x"));
  std::filesystem::create_symlink(folder / "root-beside", root / "beside");
  REQUIRE(::mkfifo((root / "fifo.png").c_str(), 0600) == 0);
  const auto code = [&](const std::string& path) {
    write_file(folder / "list.txt", std::string_view(path + " 1\n"));
    return code_of([&] { read_image_list(folder / "list.txt", root); });
  };
  CHECK(code("in.png") == "");
  CHECK(code("./in.png") == "");
  CHECK(code("link.png") == "");
  CHECK(code("escape.png") == "negood.path.1");
  CHECK(code("escape/secret.png") == "negood.path.1");
  CHECK(code("beside/a.png") == "negood.path.1");  // shares the root's name as a prefix
  CHECK(code("zero.png") == "negood.path.1");
  CHECK(code("fifo.png") == "negood.path.1");
  CHECK(code(".") == "negood.path.1");
  CHECK(code("none.png") == "negood.path.2");
  CHECK(code("loop.png") == "negood.path.2");
  write_file(folder / "list.txt", std::string_view("in.png 1\n"));
  CHECK(read_image_list(folder / "list.txt", root).file(0) == root / "in.png");
  CHECK(code_of([&] { read_image_list(folder / "list.txt"); }) == "negood.path.2");  // the root is the list's folder
  CHECK(read_image_list(folder / "list.txt", {.check_files = false}).size() == 1);
  CHECK(code_of([&] { read_image_list(folder / "list.txt", folder / "none"); }) == "negood.path.2");
}

TEST_CASE("image list: a folder of class folders, in byte order") {
  scratch_folder folder;
  for (const char* path : {"zebra/2.png", "zebra/10.PNG", "ant/b.jpg", "ant/deep/a.jpeg", "ant/notes.txt",
                           "ant/.hidden.png", ".git/x.png", "empty/readme"}) {
    std::filesystem::create_directories((folder / path).parent_path());
    write_file(folder / path, std::string_view("x"));
  }
  write_file(folder / "loose.png", std::string_view("x"));
  std::filesystem::create_directory_symlink(folder.path(), folder / "ant" / "cycle");
  const image_list l = read_image_list(folder.path());
  CHECK(l.class_names == std::vector<std::string>{"ant", "empty", "zebra"});
  CHECK(l.paths == std::vector<std::string>{"ant/b.jpg", "ant/deep/a.jpeg", "zebra/10.PNG", "zebra/2.png"});
  CHECK(l.labels == std::vector<index_type>{0, 0, 2, 2});
  CHECK(std::filesystem::exists(l.file(3)));
  CHECK(code_of([&] { read_image_list(folder.path(), {.classes = 2}); }) == "negood.labels.2");
  CHECK(code_of([&] { read_image_list(folder.path(), {.entries = 3}); }) == "negood.list.3");
  CHECK(code_of([&] { read_image_list(folder / "empty"); }) == "negood.list.1");
  CHECK(code_of([&] { read_image_list(folder / "none", {.format = image_list_format::folders}); }) == "negood.list.4");
}

TEST_CASE("image list: listed pictures are read") {
  scratch_folder folder;
  write_file(folder / "list.csv", std::string_view("png_rgb8.png,0\njpeg_420.jpg,1\n"));
  const image_list l = read_image_list(folder / "list.csv", golden("images"));
  REQUIRE(l.size() == 2);
  CHECK(read_image(l.file(0)).width == 13);
  CHECK(read_image(l.file(1)).width == 23);
}
