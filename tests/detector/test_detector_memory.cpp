// InterNeg's memory in a detector file: what is written comes back, what does not belong is refused.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/backend/reference.hpp>
#include <negood/io/detector.hpp>

using namespace negood;
namespace {

using io_test::code_of;
using backend = reference::context<double>;

host_matrix<float> unit_rows(index_type rows, index_type cols, int salt) {
  host_matrix<float> out(rows, cols);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (index_type c = 0; c < cols; ++c) {
      out(r, c) = static_cast<float>((r * 31 + c * 17 + salt * 7) % 23 - 11);
      n += double(out(r, c)) * double(out(r, c));
    }
    for (float& v : out.row(r)) v = static_cast<float>(double(v) / std::sqrt(n));
  }
  return out;
}

detector_record learned_record() {
  detector_record r;
  r.method = "interneg";
  r.labels = {"cat", "dog"};
  r.positive = unit_rows(2, 6, 1);
  r.negative = unit_rows(3, 6, 2);
  r.proxies = unit_rows(2, 6, 3);
  r.logit_scale = 20;
  r.encoder_fingerprint = "abc";
  interneg_state s{negative_memory(4, 6)};
  const auto rows = unit_rows(2, 6, 4);
  s.memory.insert(rows.row(0), {0.1, 7, 2});
  s.memory.insert(rows.row(1), {1.0 / 3, 9, 18446744073709551615u});
  s.last_sequence = 11;
  s.admitted = {1, 2};
  s.turned = {0, 5};
  s.quarantine.push_back({{rows.row(0).begin(), rows.row(0).end()}, {3, 4}});
  r.learned = std::move(s);
  return r;
}

detector_record reread(const detector_record& r) {
  const io_test::scratch_folder folder;
  save(r, folder / "d.safetensors");
  return load_detector_record(folder / "d.safetensors");
}

}  // namespace

TEST_CASE("a memory is saved and read back to the bit") {
  const auto wanted = learned_record();
  const auto got = reread(wanted);
  REQUIRE(got.learned);
  const auto &a = *wanted.learned, &b = *got.learned;
  CHECK(a.memory.entries() == b.memory.entries());
  CHECK(std::ranges::equal(a.memory.features().values(), b.memory.features().values()));
  CHECK(a.memory.version() == b.memory.version());
  CHECK(a.memory.capacity() == b.memory.capacity());
  CHECK(a.last_sequence == b.last_sequence);
  CHECK(a.admitted == b.admitted);
  CHECK(a.turned == b.turned);
  CHECK(a.drifted == b.drifted);
  CHECK(a.quarantine == b.quarantine);
  auto drifted = wanted;
  drifted.learned->drifted = true;
  drifted.learned->last_sequence.reset();
  CHECK(reread(drifted).learned->drifted);
  CHECK_FALSE(reread(drifted).learned->last_sequence);
  auto empty = wanted;
  empty.learned = interneg_state{negative_memory(5, 6)};
  CHECK(reread(empty).learned->memory.capacity() == 5);
}

TEST_CASE("a detector with a memory scores with it as with more negatives") {
  backend ctx;
  const auto r = learned_record();
  auto plain = r;
  plain.negative = negatives_with_memory(r);
  plain.learned.reset();
  const auto images = cast<double>(unit_rows(9, 6, 5));
  CHECK(plain.negative.rows() == 5);
  CHECK(detector<backend>(ctx, r).score(images) == detector<backend>(ctx, plain).score(images));
  auto without = r;
  without.learned.reset();
  CHECK(detector<backend>(ctx, r).score(images) != detector<backend>(ctx, without).score(images));
}

TEST_CASE("a memory that belongs to other texts, or was changed, is refused") {
  const io_test::scratch_folder folder;
  save(learned_record(), folder / "d.safetensors");
  const auto whole = safetensors_file::read(folder / "d.safetensors");
  const auto code_with = [&](auto&& change) {
    safetensors_writer out;
    for (const char* key : {"format", "method", "labels", "logit_scale", "memory_state", "encoder_fingerprint"})
      out.metadata(key, *whole.find_metadata(key));
    host_matrix<float> positive = whole.tensor<float>("positive"), memory = whole.tensor<float>("memory");
    std::vector<double> base = whole.tensor<double>("base").values(), key = whole.tensor<double>("memory_key").values();
    change(out, positive, memory, base, key);
    out.add("positive", positive);
    out.add("negative", whole.tensor<float>("negative"));
    out.add("proxies", whole.tensor<float>("proxies"));
    out.add("quarantine", whole.tensor<float>("quarantine"));
    out.add("memory", memory);
    out.add<double>("base", {base.size()}, base);
    out.add<double>("memory_key", {key.size()}, key);
    for (const char* name : {"memory_sequence", "memory_source"}) {
      const auto values = whole.tensor<std::uint64_t>(name).values();
      out.add<std::uint64_t>(name, {values.size()}, values);
    }
    const auto bytes = out.bytes();
    return code_of([&] { parse_detector(safetensors_file::parse(byte_view(bytes))); });
  };
  using writer = safetensors_writer;
  using rows = host_matrix<float>;
  using numbers = std::vector<double>;
  CHECK(code_with([](writer&, rows&, rows&, numbers&, numbers&) {}).empty());
  CHECK(code_with([](writer&, rows&, rows&, numbers& base, numbers&) { base[1] += 0.01; }) == "negood.file.9");
  CHECK(code_with([](writer&, rows&, rows&, numbers&, numbers& key) { key[0] += 1e-9; }) == "negood.file.9");
  CHECK(code_with([](writer&, rows&, rows& memory, numbers&, numbers&) { std::swap(memory(0, 0), memory(0, 1)); }) ==
        "negood.file.9");
  CHECK(code_with([](writer& w, rows&, rows&, numbers&, numbers&) { w.metadata("logit_scale", "21"); }) ==
        "negood.file.9");
  CHECK(code_with([](writer&, rows&, rows&, numbers&, numbers& key) { key.push_back(1); }) == "negood.file.4");
  CHECK(code_with([](writer&, rows&, rows&, numbers&, numbers& key) { key[0] = std::nan(""); }) == "negood.file.5");
  for (const char* state : {"[]", "{\"capacity\":-1}", "{\"capacity\":9e18}", "{\"version\":\"x\"}", "{\"drifted\":1}",
                            "{\"admitted\":[1]}", "{\"turned\":[1,-2]}", "{\"quarantine_sources\":[[0.5]]}"})
    CHECK(code_with([&](writer& w, rows&, rows&, numbers&, numbers&) { w.metadata("memory_state", state); }) ==
          "negood.file.3");
  CHECK(code_with([](writer& w, rows&, rows&, numbers&, numbers&) {
          w.metadata("memory_state", "{\"capacity\":1,\"quarantine_sources\":[[1]]}");
        }) == "negood.stream.2");
}

TEST_CASE("a memory made by hand needs its rows and their keys only") {
  safetensors_writer w;
  w.metadata("format", "negood.detector/1");
  w.metadata("method", "interneg");
  w.metadata("labels", R"(["a","b"])");
  w.metadata("logit_scale", "10");
  w.add("positive", unit_rows(2, 4, 1));
  w.add("negative", unit_rows(2, 4, 2));
  w.add("memory", unit_rows(3, 4, 3));
  w.add<double>("memory_key", {3}, std::vector<double>{3, 1, 2});
  const auto bytes = w.bytes();
  const auto r = parse_detector(safetensors_file::parse(byte_view(bytes)));
  REQUIRE(r.learned);
  CHECK(r.learned->memory.size() == 3);
  CHECK(r.learned->memory.capacity() == 2000);
  CHECK(r.learned->memory.entries()[2] == memory_entry{2, 2, 0});
  CHECK(negatives_with_memory(r).rows() == 5);
}
