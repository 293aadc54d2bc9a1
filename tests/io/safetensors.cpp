#include "io_test.hpp"

#include <negood/io/safetensors_writer.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <set>

using namespace io_test;

namespace {

/// A file with this header and so many data bytes, whose lengths are what they claim.
byte_vector file_of(std::string_view header, std::size_t data_bytes) {
  byte_vector out;
  append_le(out, static_cast<std::uint64_t>(header.size()));
  const byte_vector text = bytes_of(header);
  out.insert(out.end(), text.begin(), text.end());
  out.resize(out.size() + data_bytes, 0);
  return out;
}

std::string parse_code(std::string_view header, std::size_t data_bytes = 0) {
  return code_of([&] { safetensors_file::parse(file_of(header, data_bytes)); });
}

byte_vector small_file() {
  safetensors_writer w;
  w.metadata("format", "test/1");
  w.add("m", host_matrix<float>(2, 3, 1.5f));
  w.add("h", host_matrix<float>(1, 3, 0.25f), scalar_type::f16);
  w.add<std::int64_t>("ids", {2}, std::vector<std::int64_t>{-7, 9});
  return w.bytes();
}

}  // namespace

TEST_CASE("safetensors: what is written is read, for every dtype the writer knows") {
  host_matrix<float> m(3, 5);
  for (index_type i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(i) / 4 - 1;  // exact in every real dtype
  safetensors_writer w;
  w.metadata("z", "first");
  w.metadata("a", "quote \" backslash \\ newline \n ü 狐");
  w.metadata("z", "replaced");
  for (const scalar_type t : {scalar_type::f64, scalar_type::f32, scalar_type::f16, scalar_type::bf16})
    w.add(std::string(scalar_name(t)), m, t);
  w.add<std::int64_t>("ids", {4}, std::vector<std::int64_t>{-1, 0, 1, std::int64_t{1} << 62});
  w.add<float>("scalar", {}, std::vector<float>{2.5f});
  w.add<float>("rank3", {2, 2, 3}, std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  w.add<float>("empty", {0, 4}, std::vector<float>{});
  scratch_folder folder;
  w.save(folder / "a.safetensors");

  for (const bool lazy : {false, true}) {
    const auto f =
        lazy ? safetensors_file::open(folder / "a.safetensors") : safetensors_file::read(folder / "a.safetensors");
    for (const std::string name : {"F64", "F32", "F16", "BF16"}) {
      CHECK(f.tensor<float>(name) == m);
      CHECK(f.tensor<double>(name) == cast<double>(m));
      CHECK(f.info(name).dtype_name == name);
    }
    CHECK(f.tensor<std::int64_t>("ids").values() == std::vector<std::int64_t>{-1, 0, 1, std::int64_t{1} << 62});
    CHECK(f.tensor<double>("ids")(3, 0) == 0x1p62);
    CHECK(f.tensor<float>("scalar") == host_matrix<float>(1, 1, 2.5f));
    CHECK(f.tensor<float>("rank3").rows() == 2);
    CHECK(f.tensor<float>("rank3")(1, 5) == 11.0f);
    CHECK(f.info("rank3").shape == std::vector<std::uint64_t>{2, 2, 3});
    CHECK(f.tensor<float>("empty").rows() == 0);
    CHECK(f.tensor<float>("empty").cols() == 4);
    REQUIRE(f.metadata().size() == 2);
    CHECK(f.metadata()[0] == metadata_entry{"z", "replaced"});
    CHECK(f.metadata()[1] == metadata_entry{"a", "quote \" backslash \\ newline \n ü 狐"});
    CHECK(f.find_metadata("none") == nullptr);
  }
}

TEST_CASE("safetensors: bytes are deterministic, data aligned to 64 and every tensor to its element") {
  const byte_vector bytes = small_file();
  CHECK(bytes == small_file());
  const std::uint64_t length = load_le<std::uint64_t>(bytes.data());
  CHECK((8 + length) % 64 == 0);
  const auto f = safetensors_file::parse(bytes);
  REQUIRE(f.tensors().size() == 3);
  CHECK(f.tensors()[0].name == "ids");  // by element size, then as given
  CHECK(f.tensors()[1].name == "m");
  CHECK(f.tensors()[2].name == "h");
  for (const auto& t : f.tensors()) CHECK(t.begin % scalar_size(t.dtype) == 0);
  CHECK(bytes.size() == 8 + length + 16 + 24 + 6);
}

TEST_CASE("safetensors: conversions that would lose a value are refused") {
  safetensors_writer w;
  w.add<std::int64_t>("big", {2}, std::vector<std::int64_t>{1, (std::int64_t{1} << 53) + 1});
  w.add<std::int64_t>("wide", {1}, std::vector<std::int64_t>{300});
  w.add("real", host_matrix<float>(1, 1, 1.0f));
  w.add("huge", host_matrix<double>(1, 1, 1e300));
  const byte_vector bytes = w.bytes();
  const auto f = safetensors_file::parse(bytes);
  CHECK(code_of([&] { f.tensor<double>("big"); }) == "negood.safetensors.8");
  CHECK(code_of([&] { f.tensor<std::uint8_t>("wide"); }) == "negood.safetensors.8");
  CHECK(code_of([&] { f.tensor<std::int64_t>("real"); }) == "negood.safetensors.7");
  CHECK(std::isinf(f.tensor<float>("huge")(0, 0)));  // the feature checks find it
  const error missing = error_of([&] { f.tensor<float>("none"); });
  CHECK(missing.code() == "negood.safetensors.6");
  CHECK(mentions(missing, "'real'"));
}

TEST_CASE("safetensors: the writer refuses bad names, repeated names, wrong shapes and text that is no UTF-8") {
  const host_matrix<float> m(1, 2, 0.0f);
  safetensors_writer w;
  w.add("a", m);
  CHECK(code_of([&] { w.add("a", m); }) == "negood.safetensors.9");
  CHECK(code_of([&] { w.add("", m); }) == "negood.safetensors.9");
  CHECK(code_of([&] { w.add("__metadata__", m); }) == "negood.safetensors.9");
  CHECK(code_of([&] { w.add<float>("b", {3}, m.values()); }) == "negood.safetensors.9");
  CHECK(code_of([&] { w.add("c", host_matrix<std::int64_t>(1, 1), scalar_type::f32); }) == "negood.io.10");
  safetensors_writer heavy;
  for (int i = 0; i < 13; ++i) heavy.metadata("k" + std::to_string(i), std::string(std::size_t{8} << 20, 'x'));
  CHECK(code_of([&] { heavy.bytes(); }) == "negood.safetensors.10");
  w.metadata("k", "\xff");
  CHECK(code_of([&] { w.bytes(); }) == "negood.safetensors.9");
}

TEST_CASE("F-22 safetensors truncated at every byte") {
  const byte_vector whole = small_file();
  REQUIRE_NOTHROW(safetensors_file::parse(byte_view(whole)));
  std::size_t rejected = 0;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const error e = error_of([&] { safetensors_file::parse(byte_view(whole).first(n)); });
    rejected += e.category() == error_category::artifact && e.code().starts_with("negood.safetensors.");
  }
  CHECK(rejected == whole.size());
  CHECK(code_of([&] { safetensors_file::parse(byte_view(whole).first(7)); }) == "negood.safetensors.1");
}

TEST_CASE("F-23 safetensors header length 0, huge, 2^64-1, above the cap") {
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{1} << 40,
                                     ~std::uint64_t{0}, ~std::uint64_t{0} - 7, ~std::uint64_t{0} - 8}) {
    byte_vector bytes = file_of("{}", 0);
    std::memcpy(bytes.data(), &length, 8);
    CHECK(code_of([&] { safetensors_file::parse(byte_view(bytes)); }) == "negood.safetensors.2");
  }
  CHECK_NOTHROW(safetensors_file::parse(file_of("{}", 0)));
  // Lengths that the file does hold, in a sparse file, so that only the cap can refuse them.
  scratch_folder folder;
  const auto path = folder / "sparse.safetensors";
  const auto claim = [&](std::uint64_t length) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
    REQUIRE(fd >= 0);
    CHECK(::pwrite(fd, &length, 8, 0) == 8);
    CHECK(::ftruncate(fd, 200'000'000) == 0);
    ::close(fd);
  };
  claim((std::uint64_t{16} << 20) + 1);
  CHECK(code_of([&] { safetensors_file::open(path); }) == "negood.safetensors.2");
  claim(std::uint64_t{16} << 20);  // within the cap: read, and then refused for what it holds
  CHECK(code_of([&] { safetensors_file::open(path); }) == "negood.safetensors.3");
  claim(100'000'001);
  safetensors_limits wide;
  wide.header_bytes = std::uint64_t{1} << 40;  // 100,000,000 stays the limit
  CHECK(code_of([&] { safetensors_file::open(path, wide); }) == "negood.safetensors.2");
  safetensors_limits small;
  small.file_bytes = 1000;
  CHECK(error_of([&] { safetensors_file::open(path, small); }).category() == error_category::resource);
}

TEST_CASE("F-24 safetensors overlap, hole, reversed offsets, beyond the end, trailing bytes") {
  const auto two = [](const char* a, const char* b) {
    return std::string(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)") + a +
           R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + b + "}}";
  };
  CHECK(parse_code(two("[0,8]", "[8,16]"), 16) == "");
  CHECK(parse_code(two("[8,16]", "[0,8]"), 16) == "");  // any order in the header
  CHECK(parse_code(two("[0,8]", "[4,12]"), 12) == "negood.safetensors.4");
  CHECK(parse_code(two("[0,8]", "[0,8]"), 8) == "negood.safetensors.4");
  CHECK(parse_code(two("[0,8]", "[12,20]"), 20) == "negood.safetensors.4");
  CHECK(parse_code(two("[4,12]", "[12,20]"), 20) == "negood.safetensors.4");
  CHECK(parse_code(two("[8,0]", "[8,16]"), 16) == "negood.safetensors.4");
  CHECK(parse_code(two("[0,8]", "[8,16]"), 15) == "negood.safetensors.4");
  CHECK(parse_code(two("[0,8]", "[8,16]"), 17) == "negood.safetensors.4");
  CHECK(parse_code("{}", 1) == "negood.safetensors.4");
  CHECK(parse_code(two("[0,8]", "[18446744073709551608,18446744073709551615]"), 16) == "negood.safetensors.4");
  CHECK(parse_code(two("[0,8]", "[8,12]"), 12) == "negood.safetensors.5");  // span and shape disagree
}

TEST_CASE("F-25 safetensors duplicate keys, nested metadata, 1e5 keys, depth 1e5, odd numbers") {
  const std::string t = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const auto bad = [&](const std::string& header) { return parse_code(header, 4) == "negood.safetensors.3"; };
  CHECK(parse_code("{\"a\":{" + t + "}}", 4) == "");
  CHECK(parse_code("{\"a\":{" + t + "}} \n   ", 4) == "");  // padding
  CHECK(bad("{\"a\":{" + t + "},\"a\":{" + t + "}}"));
  CHECK(bad("{\"a\":{" + t + ",\"dtype\":\"F32\"}}"));
  CHECK(bad("{\"a\":{" + t + "},\"\\u0061\":{" + t + "}}"));  // the same key, spelled differently
  CHECK(bad(R"({"__metadata__":{"x":"1","x":"2"}})"));
  CHECK(bad(R"({"__metadata__":{"x":{"y":"z"}}})"));
  CHECK(bad(R"({"__metadata__":{"x":["y"]}})"));
  CHECK(bad(R"({"__metadata__":{"x":1}})"));
  CHECK(bad(R"({"__metadata__":{"x":null}})"));
  CHECK(bad(R"({"__metadata__":"x"})"));
  CHECK(bad(R"({"__metadata__":{},"__metadata__":{}})"));

  std::string many = "{", metadata = "{\"__metadata__\":{";
  for (int i = 0; i < 100'000; ++i) {
    many += (i ? ",\"k" : "\"k") + std::to_string(i) + R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
    metadata += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":\"\"";
  }
  CHECK(bad(many + "}"));
  CHECK(bad(metadata + "}}"));
  const std::string open_arrays(100'000, '['), open_objects = [] {
    std::string s;
    for (int i = 0; i < 100'000; ++i) s += "{\"a\":";
    return s;
  }();
  CHECK(bad("{\"a\":" + open_arrays));
  CHECK(bad(R"({"a":{"dtype":"F32","shape":)" + open_arrays));
  CHECK(bad(open_objects));

  for (const char* number : {"1e400", "-1", "-0", "1.5", "1.0", "1e0", "18446744073709551616", "01", "0x1", "NaN",
                             "\"1\"", "true", "null"}) {
    CAPTURE(number);
    CHECK(bad(std::string(R"({"a":{"dtype":"F32","shape":[)") + number + R"(],"data_offsets":[0,4]}})"));
    CHECK(bad(std::string(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[)") + number + ",4]}}"));
  }
  CHECK(bad(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})"));
  CHECK(bad(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})"));
  CHECK(bad(R"({"a":{"dtype":"F32","shape":[1]}})"));
  CHECK(bad(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})"));
  CHECK(bad(R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})"));
  CHECK(bad(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})"));
  CHECK(bad("{\"a\":{" + t + ",\"more\":1}}"));
  CHECK(bad("{\"a\":[]}"));
  CHECK(bad("{\"a\":null}"));
  CHECK(bad("[]"));
  CHECK(bad(" {}"));
  CHECK(bad("{}{}"));
  CHECK(bad("{} x"));
  CHECK(bad(std::string("{}\0{}", 5)));  // a NUL does not end the header
  CHECK(bad("{\"\xff\":{" + t + "}}"));  // not UTF-8
  CHECK(bad("{\"" + std::string(5000, 'k') + "\":{" + t + "}}"));
  CHECK(bad("{\"a\":{" + t + "}"));
}

TEST_CASE("F-26 safetensors shape product overflow is refused, rank 0 and empty are read, rank 9 is refused") {
  const auto shaped = [](const std::string& shape, std::size_t bytes) {
    return parse_code(
        R"({"a":{"dtype":"F32","shape":)" + shape + ",\"data_offsets\":[0," + std::to_string(bytes) + "]}}", bytes);
  };
  CHECK(shaped("[4294967296,4294967296]", 0) == "negood.safetensors.5");
  CHECK(shaped("[4611686018427387904]", 0) == "negood.safetensors.5");  // elements fit, bytes do not
  CHECK(shaped("[18446744073709551615]", 4) == "negood.safetensors.5");
  CHECK(shaped("[4294967296,4294967296,0]", 0) == "negood.safetensors.5");
  CHECK(shaped("[0,4294967296,4294967296]", 0) == "negood.safetensors.5");
  CHECK(shaped("[0,1099511627776]", 0) == "negood.safetensors.5");  // rows that nothing in the file stands for
  CHECK(shaped("[]", 4) == "");
  CHECK(shaped("[]", 8) == "negood.safetensors.5");
  CHECK(shaped("[0]", 0) == "");
  CHECK(shaped("[3,0,7]", 0) == "");
  CHECK(shaped("[1,1,1,1,1,1,1,1]", 4) == "");
  CHECK(shaped("[1,1,1,1,1,1,1,1,1]", 4) == "negood.safetensors.3");
  const byte_vector bytes = file_of(R"({"a":{"dtype":"F32","shape":[3,0,7],"data_offsets":[0,0]}})", 0);
  const auto empty = safetensors_file::parse(byte_view(bytes)).tensor<float>("a");
  CHECK(empty.rows() == 3);
  CHECK(empty.cols() == 0);
}

TEST_CASE("F-27 safetensors unknown dtypes are refused by name while the other tensors stay readable") {
  for (const std::string dtype : {"F8_E4M3", "F4", "C64", "f32", ""}) {
    const byte_vector bytes = file_of(R"({"odd":{"dtype":")" + dtype +
                                          R"(","shape":[3],"data_offsets":[0,3]},)"
                                          R"("good":{"dtype":"F32","shape":[1],"data_offsets":[3,7]}})",
                                      7);
    const auto f = safetensors_file::parse(byte_view(bytes));
    REQUIRE(f.tensors().size() == 2);
    CHECK(f.info("odd").dtype_name == dtype);
    CHECK(f.info("odd").dtype == scalar_type::unknown);
    const error e = error_of([&] { f.tensor<float>("odd"); });
    CHECK(e.code() == "negood.safetensors.7");
    CHECK(mentions(e, "'odd'"));
    CHECK(mentions(e, dtype));
    CHECK(f.raw("odd").size() == 3);
    CHECK(f.tensor<float>("good")(0, 0) == 0.0f);  // at an odd offset
  }
}

namespace {

/// The rules again, over a parsed document: the oracle for the streaming reader.
bool valid_by_document(const std::string& header, std::uint64_t data_bytes) {
  if (header.empty() || header[0] != '{' || header.find('\0') != std::string::npos) return false;
  std::vector<std::set<std::string>> keys;
  bool repeated = false;
  const auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using e = nlohmann::json::parse_event_t;
    if (event == e::object_start) keys.emplace_back();
    if (event == e::object_end) keys.pop_back();
    if (event == e::key) repeated |= !keys.back().insert(value.get<std::string>()).second;
    return true;
  };
  const nlohmann::json j = nlohmann::json::parse(header, watch, false);
  if (j.is_discarded() || repeated || !j.is_object()) return false;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;
  for (const auto& [name, t] : j.items()) {
    if (name == "__metadata__") {
      if (!t.is_object()) return false;
      for (const auto& v : t)
        if (!v.is_string()) return false;
      continue;
    }
    if (!t.is_object() || t.size() != 3 || !t.contains("dtype") || !t.contains("shape") || !t.contains("data_offsets"))
      return false;
    const auto &d = t["dtype"], &s = t["shape"], &o = t["data_offsets"];
    if (!d.is_string() || d.get<std::string>().size() > 32 || !s.is_array() || s.size() > 8 || !o.is_array() ||
        o.size() != 2)
      return false;
    __extension__ unsigned __int128 elements = 1;
    bool zero = false, large = false;
    for (const auto& v : s) {
      if (!v.is_number_unsigned()) return false;
      const auto n = v.get<std::uint64_t>();
      zero |= n == 0;
      large |= n > (std::uint64_t{1} << 31);
      if (n != 0) elements *= n;
      if (elements > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
    }
    if (zero && large) return false;
    for (const auto& v : o)
      if (!v.is_number_unsigned()) return false;
    const auto b = o[0].get<std::uint64_t>(), e = o[1].get<std::uint64_t>();
    const std::map<std::string, std::uint64_t> sizes = {{"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4}, {"I32", 4},
                                                        {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2}, {"U16", 2},
                                                        {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
    const auto size = sizes.find(d.get<std::string>());
    if (b > e || e > data_bytes) return false;
    if (size != sizes.end() && (zero ? 0 : elements * size->second) != e - b) return false;
    spans.emplace_back(b, e);
  }
  std::sort(spans.begin(), spans.end());
  std::uint64_t at = 0;
  for (const auto& [b, e] : spans) {
    if (b != at) return false;
    at = e;
  }
  return at == data_bytes;
}

}  // namespace

TEST_CASE("safetensors: the streaming header reader agrees with a document reader on mutated headers") {
  const std::vector<std::string> seeds = {
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]}})",
      R"({"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"b":{"dtype":"F8","shape":[0],"data_offsets":[8,8]},"c":{"dtype":"U8","shape":[24],"data_offsets":[8,32]}})",
      R"({"a":{"shape":[8],"data_offsets":[0,32],"dtype":"F32"}})"};
  const std::vector<std::string> pieces = {"0",         "1",    "8",       "24",    "32",
                                           "-",         ".",    "e",       ",",     ":",
                                           "\"",        "{",    "}",       "[",     "]",
                                           " ",         "[]",   "{}",      "\"a\"", "\"dtype\"",
                                           "\"shape\"", "null", "\\u0061", "F32",   "18446744073709551615"};
  const char* wanted = std::getenv("NEGOOD_DIFFERENTIAL_CASES");
  const long cases = wanted != nullptr ? std::atol(wanted) : 30'000;
  std::mt19937_64 random(5);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  long accepted = 0, disagreements = 0;
  std::string example;
  for (long i = 0; i < cases; ++i) {
    std::string h = seeds[below(seeds.size())];
    for (std::size_t edits = below(4); edits > 0; --edits) {
      const std::size_t at = below(h.size());
      switch (below(5)) {
        case 0:
          h.erase(at, 1 + below(3));
          break;
        case 1:
          h.insert(at, pieces[below(pieces.size())]);
          break;
        case 2:
          h.replace(at, 1, pieces[below(pieces.size())]);
          break;
        case 3:
          h[at] = static_cast<char>(random());
          break;
        default:  // a digit, the most telling change
          if (const std::size_t d = h.find_first_of("0123456789", at); d != std::string::npos)
            h[d] = static_cast<char>('0' + below(10));
      }
      if (h.empty()) h = "{";
    }
    const std::uint64_t data = below(8) == 0 ? below(40) : 32;
    bool ours = true;
    try {
      parse_safetensors_header(h, data, "fuzzed");
    } catch (const error&) {
      ours = false;
    }
    accepted += ours;
    if (ours != valid_by_document(h, data)) {
      ++disagreements;
      example = h;
    }
  }
  CAPTURE(example);
  CHECK(disagreements == 0);
  CHECK(accepted > cases / 10);  // the mutations leave enough valid headers to mean something
  CHECK(accepted < cases * 9 / 10);
}
