#include "io_test.hpp"

#include <negood/io/labels.hpp>

using namespace io_test;

namespace {

std::vector<std::int64_t> labels_of(std::string_view text, label_options options = {}) {
  return parse_labels(as_byte_view(text), "labels.txt", options);
}

}  // namespace

TEST_CASE("labels: text and npy integers of every width") {
  const std::vector<std::int64_t> expected = {0, 3, -1};
  CHECK(labels_of("0\n3\n-1\n") == expected);
  CHECK(labels_of("\xef\xbb\xbf 0\r\n3 \r\n-1\r\n\r\n") == expected);
  CHECK(parse_labels(npy_bytes<std::int64_t>(expected, {3})) == expected);
  CHECK(parse_labels(npy_bytes<std::int64_t>(expected, {3, 1})) == expected);
  CHECK(read_labels(golden("npy/counting_byte_u1.npy").parent_path() / "half_bits.npy").size() > 100);  // uint16
  CHECK(code_of([] { read_labels(golden("npy/rank1.npy")); }) == "negood.labels.3");                    // floats
  CHECK(code_of([] { read_labels(golden("npy/counting_little_i8.npy")); }) == "negood.labels.3");       // a matrix
  CHECK(code_of([] { read_labels(golden("npy/bool.npy")); }) == "negood.labels.3");
  for (const char* text : {"1.0\n", "a\n", "1 2\n", "+1\n", "0x1\n", "1\n\n2\n", "99999999999999999999\n", "1e3\n"})
    CHECK(code_of([&] { labels_of(text); }) == "negood.labels.3");
  CHECK(mentions(error_of([] { labels_of("1\nx\n"); }), "line 2"));
}

TEST_CASE("F-18 another number of labels than rows is refused with both") {
  const error e = error_of([] { labels_of("0\n1\n2\n", {.rows = 4}); });
  CHECK(e.code() == "negood.labels.1");
  CHECK(e.exit_code() == 3);
  CHECK(mentions(e, "3 labels for 4 rows"));
  CHECK(labels_of("0\n1\n2\n", {.rows = 3}).size() == 3);
  CHECK(code_of([] { labels_of("", {.rows = 1}); }) == "negood.labels.1");
  CHECK(code_of([] {
          parse_labels(npy_bytes<std::int64_t>(std::vector<std::int64_t>{1, 2}, {2}), "n", {.rows = 1});
        }) == "negood.labels.1");
}

TEST_CASE("F-19 labels out of range, negative or above 2^31 are refused with their row") {
  const auto refused = [](std::string_view text, label_options options, std::string_view row) {
    const error e = error_of([&] { labels_of(text, options); });
    return e.code() == "negood.labels.2" && e.exit_code() == 3 && mentions(e, row);
  };
  CHECK(refused("0\n1\n10\n", {.classes = 10}, "row 2"));
  CHECK(labels_of("0\n1\n9\n", {.classes = 10}).back() == 9);
  CHECK(refused("0\n-1\n", {.lowest = 0}, "row 1"));
  CHECK(labels_of("0\n-1\n").back() == -1);  // out-of-distribution, where it is not forbidden
  CHECK(refused("-2\n", {}, "row 0"));
  CHECK(labels_of("-2\n", {.lowest = -2}).back() == -2);
  CHECK(refused("2147483648\n", {}, "row 0"));
  CHECK(labels_of("2147483647\n").back() == 2147483647);
  CHECK(refused("0\n9223372036854775807\n", {}, "row 1"));
  CHECK(refused("-9223372036854775808\n", {}, "row 0"));
  const byte_vector wide = npy_bytes<std::int64_t>(std::vector<std::int64_t>{0, std::int64_t{1} << 40}, {2});
  CHECK(code_of([&] { parse_labels(wide); }) == "negood.labels.2");
}
