#include "io_test.hpp"

#include <negood/io/npy.hpp>

using namespace io_test;

namespace {

byte_vector npy_of(std::string header, std::size_t data_bytes, int version = 1) {
  byte_vector out = {0x93, 'N', 'U', 'M', 'P', 'Y', static_cast<std::uint8_t>(version), 0};
  if (version == 1)
    append_le(out, static_cast<std::uint16_t>(header.size()));
  else
    append_le(out, static_cast<std::uint32_t>(header.size()));
  const byte_vector text = bytes_of(header);
  out.insert(out.end(), text.begin(), text.end());
  out.resize(out.size() + data_bytes, 0);
  return out;
}

std::string parse_code(const std::string& header, std::size_t data_bytes = 0) {
  return code_of([&] {
    const byte_vector bytes = npy_of(header, data_bytes);
    npy_file::parse(bytes).matrix<double>();
  });
}

bool counts_up(const host_matrix<double>& m) {
  for (index_type i = 0; i < m.size(); ++i)
    if (m.data()[i] != static_cast<double>(i)) return false;
  return true;
}

}  // namespace

TEST_CASE("npy: numpy's files of every dtype, byte order and version read as the same numbers") {
  for (const char* name : {"counting_little_f2",
                           "counting_little_f4",
                           "counting_little_f8",
                           "counting_big_f2",
                           "counting_big_f4",
                           "counting_big_f8",
                           "counting_little_i8",
                           "counting_big_i8",
                           "counting_little_i4",
                           "counting_big_i4",
                           "counting_little_i2",
                           "counting_big_u2",
                           "counting_byte_i1",
                           "counting_byte_u1",
                           "counting_little_u4",
                           "counting_big_u8",
                           "fortran",
                           "fortran_big",
                           "version2",
                           "version3"}) {
    CAPTURE(name);
    const auto m = read_npy<double>(golden(std::string("npy/") + name + ".npy"));
    CHECK(m.rows() == 3);
    CHECK(m.cols() == 4);
    CHECK(counts_up(m));
  }
  const auto flags = read_npy<std::uint8_t>(golden("npy/bool.npy"));
  CHECK(flags.values() == std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1});
  CHECK(read_npy<std::int64_t>(golden("npy/counting_big_i8.npy"))(2, 3) == 11);
}

TEST_CASE("npy: ranks 0, 1 and 3 take their matrix form, Fortran order of rank 3 included") {
  CHECK(read_npy<float>(golden("npy/rank0.npy")) == host_matrix<float>(1, 1, 7.0f));
  CHECK(read_npy<float>(golden("npy/rank1.npy")).rows() == 5);
  CHECK(read_npy<float>(golden("npy/rank1.npy")).cols() == 1);
  for (const char* name : {"npy/rank3.npy", "npy/fortran_rank3.npy"}) {
    const npy_file f = npy_file::open(golden(name));
    CHECK(f.shape() == std::vector<std::uint64_t>{2, 3, 4});
    CHECK(f.rows() == 2);
    CHECK(f.cols() == 12);
    CHECK(counts_up(f.matrix<double>()));
  }
  const auto empty = read_npy<float>(golden("npy/empty.npy"));
  CHECK(empty.rows() == 0);
  CHECK(empty.cols() == 8);
}

TEST_CASE("npy: what is written is read, and has numpy's own bytes") {
  scratch_folder folder;
  host_matrix<float> m(3, 4);
  for (index_type i = 0; i < 12; ++i) m.data()[i] = static_cast<float>(i);
  write_npy(folder / "m.npy", m);
  CHECK(read_npy<float>(folder / "m.npy") == m);
  CHECK(read_file(folder / "m.npy") == read_file(golden("npy/counting_little_f4.npy")));
  write_npy(folder / "d.npy", cast<double>(m));
  CHECK(read_file(folder / "d.npy") == read_file(golden("npy/counting_little_f8.npy")));
  write_npy(folder / "v.npy", std::vector<float>{0, 1, 2, 3, 4});
  CHECK(read_file(folder / "v.npy") == read_file(golden("npy/rank1.npy")));
  write_npy(folder / "i.npy", std::vector<std::int64_t>{-1, std::int64_t{1} << 40});
  CHECK(read_npy<std::int64_t>(folder / "i.npy").values() == std::vector<std::int64_t>{-1, std::int64_t{1} << 40});
  CHECK(load_le<std::uint16_t>(read_file(folder / "i.npy").data() + 8) % 64 == 54);  // data start at a multiple of 64
  CHECK(code_of([&] { npy_bytes<float>(m.values(), {5}); }) == "negood.npy.10");
}

TEST_CASE("F-28 npy: pickles, structured and unsupported dtypes are refused with a way out") {
  const error pickled = error_of([] { npy_file::open(golden("npy/object.npy")); });
  CHECK(pickled.code() == "negood.npy.4");
  CHECK(pickled.category() == error_category::artifact);
  CHECK(mentions(pickled, "numpy.save"));
  const error structured = error_of([] { npy_file::open(golden("npy/structured.npy")); });
  CHECK(structured.code() == "negood.npy.5");
  CHECK(mentions(structured, "numpy.save"));
  CHECK(code_of([] { npy_file::open(golden("npy/complex.npy")); }) == "negood.npy.6");
  CHECK(code_of([] { npy_file::open(golden("npy/text.npy")); }) == "negood.npy.6");
}

TEST_CASE("F-28 npy: Fortran order is transposed, never reinterpreted; big-endian is swapped") {
  const auto m = read_npy<double>(golden("npy/fortran_big.npy"));
  CHECK(m(0, 1) == 1.0);
  CHECK(m(1, 0) == 4.0);
  CHECK(npy_file::open(golden("npy/fortran_big.npy")).header().fortran_order);
}

TEST_CASE("F-28 npy: 10 GB in 136 bytes, a header of 4 GB, overflow and trailing bytes are refused") {
  const std::string f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  CHECK(parse_code(f4 + "(50000, 50000), }", 136 - 10 - 66) == "negood.npy.7");
  CHECK(parse_code(f4 + "(4294967296, 4294967296), }", 0) == "negood.npy.7");
  CHECK(parse_code(f4 + "(0, 4294967296, 4294967296), }", 0) == "negood.npy.7");
  CHECK(parse_code(f4 + "(1099511627776, 0), }", 0) == "negood.npy.7");
  CHECK(parse_code(f4 + "(2,), }", 8) == "");
  CHECK(parse_code(f4 + "(2,), }", 9) == "negood.npy.7");
  CHECK(parse_code(f4 + "(2,), }", 7) == "negood.npy.7");
  byte_vector bytes = npy_of(f4 + "(2,), }", 8, 2);
  const std::uint32_t four_gigabytes = 0xffffffff;
  std::memcpy(bytes.data() + 8, &four_gigabytes, 4);
  CHECK(code_of([&] { npy_file::parse(bytes); }) == "negood.npy.2");
  npy_limits small;
  small.header_bytes = 16;
  CHECK(code_of([&] { npy_file::open(golden("npy/rank1.npy"), small); }) == "negood.npy.2");
}

TEST_CASE("F-28 npy: a file cut at every byte is refused") {
  const byte_vector whole = read_file(golden("npy/version3.npy"));
  REQUIRE_NOTHROW(npy_file::parse(whole));
  std::size_t rejected = 0;
  for (std::size_t n = 0; n < whole.size(); ++n)
    rejected += code_of([&] { npy_file::parse(byte_view(whole).first(n)); }).starts_with("negood.npy.");
  CHECK(rejected == whole.size());
}

TEST_CASE("npy: malformed headers are refused") {
  for (const char* header :
       {"", "{", "{}", "[]", "{'descr': '<f4', 'fortran_order': False}", "{'descr': '<f4', 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)",
        "{'fortran_order': False, 'shape': (2,), 'descr': '<f4}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2)}"}) {
    CAPTURE(header);
    CHECK(parse_code(header, 8) == "negood.npy.3");
  }
  for (const char* dtype : {"|f4", "f4", "<f3", "", "<", "<f16", "<U1", "|S4", "<M8", "?f4"}) {
    CAPTURE(dtype);
    CHECK(parse_code(std::string("{'descr': '") + dtype + "', 'fortran_order': False, 'shape': (2,)}", 8) ==
          "negood.npy.6");
  }
  CHECK(parse_code("{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2L,)}", 8) == "");
  byte_vector later = npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8);
  later[6] = 4;
  CHECK(code_of([&] { npy_file::parse(later); }) == "negood.npy.1");
  CHECK(code_of([&] { npy_file::open(golden("escapes.txt")); }) == "negood.npy.1");
}

TEST_CASE("npy: reals never become integers, and integers stay exact") {
  CHECK(code_of([] { read_npy<std::int64_t>(golden("npy/counting_little_f4.npy")); }) == "negood.npy.8");
  const byte_vector big = npy_bytes<std::int64_t>(std::vector<std::int64_t>{0, (std::int64_t{1} << 24) + 1}, {2});
  CHECK(code_of([&] { npy_file::parse(big).matrix<float>(); }) == "negood.npy.9");
  CHECK(npy_file::parse(big).matrix<double>()(1, 0) == 16777217.0);
}
