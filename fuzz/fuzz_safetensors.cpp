// Safetensors files. An odd first byte: the rest is the file. An even one: the next byte is the number of data bytes
// and the rest the header, whose length is put in front, so that mutations of the header are not wasted on a wrong
// length.
#include "fuzz.hpp"

#include <negood/io/safetensors_writer.hpp>

using namespace negood;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  byte_vector bytes;
  if (data[0] % 2 != 0) {
    bytes.assign(data + 1, data + size);
  } else {
    append_le(bytes, static_cast<std::uint64_t>(size - 2));
    bytes.insert(bytes.end(), data + 2, data + size);
    bytes.resize(bytes.size() + data[1], 0x3c);
  }
  fuzz::accepts([&] {
    const safetensors_file f = safetensors_file::parse(byte_view(bytes));
    safetensors_writer again;
    bool known = true;
    for (const metadata_entry& e : f.metadata()) {
      if (!e.first.empty()) again.metadata(e.first, e.second);
      fuzz::must(f.find_metadata(e.first) != nullptr);
    }
    std::uint64_t total = 0;
    for (const safetensors_tensor& t : f.tensors()) {
      const byte_vector raw = f.raw(t.name);
      total += raw.size();
      fuzz::must(f.find(t.name) == &t);
      fuzz::accepts([&] { f.tensor<float>(t.name); });
      fuzz::accepts([&] { f.tensor<std::int64_t>(t.name); });
      fuzz::accepts([&] { f.tensor<std::uint8_t>(t.name); });
      known = known && t.dtype == scalar_type::f64 && !t.name.empty();
      if (known) again.add<double>(t.name, t.shape, f.tensor<double>(t.name).values());
    }
    fuzz::must(total <= bytes.size());
    if (!known) return;
    // What was read and written again is read as the same.
    const byte_vector copy = again.bytes();
    const safetensors_file g = safetensors_file::parse(byte_view(copy));
    fuzz::must(g.tensors().size() == f.tensors().size());
    for (const safetensors_tensor& t : f.tensors()) fuzz::must(g.raw(t.name) == f.raw(t.name));
  });
  return 0;
}
