/// \file npy.hpp  Reading and writing NumPy's .npy files, versions 1 to 3; pickled objects are never opened.
#pragma once

#include <negood/backend/host_matrix.hpp>
#include <negood/io/npy_header.hpp>
#include <negood/io/source.hpp>

#include <algorithm>

namespace negood {

struct npy_limits {
  std::uint64_t file_bytes = std::uint64_t{64} << 30;
  std::uint64_t header_bytes = std::uint64_t{1} << 16;
};

/// A .npy file whose header has been checked against the file's size.
class npy_file {
 public:
  /// Opens a file and reads its header; the values are read when they are asked for.
  /// \throws error negood.io.1 to .5; negood.npy.1 no .npy file, .2 header length, .3 to .6 see the header's reader,
  ///         .7 shape and size disagree
  static npy_file open(const std::filesystem::path& path, const npy_limits& limits = {}) {
    return npy_file(byte_source::open(path, limits.file_bytes), limits);
  }
  /// Over the bytes of a file, which outlive the result; `name` stands for it in messages.
  static npy_file parse(byte_view bytes, std::string name = "npy", const npy_limits& limits = {}) {
    return npy_file(byte_source::from_view(bytes, std::move(name)), limits);
  }

  const std::string& name() const noexcept { return source_.name(); }
  const npy_header& header() const noexcept { return header_; }
  scalar_type dtype() const noexcept { return header_.dtype; }
  const std::vector<std::uint64_t>& shape() const noexcept { return header_.shape; }
  index_type rows() const noexcept { return form_.rows; }
  index_type cols() const noexcept { return form_.cols; }

  /// The values as a row-major matrix: rank 0 is [1, 1], rank 1 [n, 1], rank 2 as it is, above that [shape[0], the
  /// rest].
  ///
  /// Fortran order is transposed and big-endian values are swapped. Reals convert to the nearest T, integers must be
  /// exact values of T, reals never become integers.
  /// \throws error negood.npy.8 dtype not convertible to T, .9 a value that is no value of T
  template <class T>
  host_matrix<T> matrix() const {
    if (!convertible_to<T>(header_.dtype))
      fail(error_category::artifact, "negood.npy.8", name(),
           "dtype '" + header_.descr + "' cannot be read as " + std::string(scalar_name(scalar_type_of<T>())));
    host_matrix<T> stored(form_.rows, form_.cols);
    read_values(stored.data(), static_cast<std::size_t>(stored.size()));
    return header_.fortran_order && header_.shape.size() > 1 && !stored.empty() ? transposed(stored) : stored;
  }

 private:
  npy_file(byte_source source, const npy_limits& limits) : source_(std::move(source)) {
    const std::uint64_t size = source_.size();
    std::uint8_t start[12] = {};
    source_.read_at(0, {start, static_cast<std::size_t>(std::min<std::uint64_t>(size, sizeof start))});
    constexpr std::uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (size < 10 || !std::equal(magic, magic + 6, start) || start[6] < 1 || start[6] > 3 || start[7] != 0)
      fail(error_category::artifact, "negood.npy.1", name(), "is not a .npy file of version 1, 2 or 3");
    const std::uint64_t prefix = start[6] == 1 ? 10 : 12;
    const std::uint64_t length = start[6] == 1 ? load_le<std::uint16_t>(start + 8) : load_le<std::uint32_t>(start + 8);
    if (prefix > size || length > size - prefix || length > limits.header_bytes)
      fail(error_category::artifact, "negood.npy.2", name(),
           "claims a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(size) +
               "; the limit is " + std::to_string(limits.header_bytes));
    std::string text(static_cast<std::size_t>(length), '\0');
    source_.read_at(prefix, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    header_ = parse_npy_header(text, name());
    data_ = prefix + length;
    const auto form = to_matrix_shape(header_.shape);
    const auto bytes = form ? checked_mul(form->elements, scalar_size(header_.dtype)) : std::nullopt;
    if (!bytes || *bytes != size - data_)
      fail(error_category::artifact, "negood.npy.7", name(),
           (bytes ? "its shape wants " + std::to_string(*bytes) + " bytes" : "the product of its shape overflows") +
               ", the file holds " + std::to_string(size - data_) + " after the header",
           "truncated, or trailing bytes");
    form_ = *form;
  }

  template <class T>
  void read_values(T* out, std::size_t count) const {
    const std::size_t width = scalar_size(header_.dtype);
    constexpr std::size_t chunk = std::size_t{1} << 16;  // elements: bounds the memory beside the result
    byte_vector raw(std::min(chunk, count) * width);
    for (std::size_t first = 0; first < count; first += chunk) {
      const std::size_t n = std::min(chunk, count - first);
      source_.read_at(data_ + first * width, {raw.data(), n * width});
      if (header_.big_endian) swap_elements({raw.data(), n * width}, width);
      if (const auto bad = convert_scalars<T>(header_.dtype, raw.data(), out + first, n))
        fail(error_category::artifact, "negood.npy.9", name(),
             "stored element " + std::to_string(first + *bad) + " of dtype '" + header_.descr + "' is no value of " +
                 std::string(scalar_name(scalar_type_of<T>())));
    }
  }

  /// Fortran order, in which the first index runs fastest, into row-major order.
  template <class T>
  host_matrix<T> transposed(const host_matrix<T>& stored) const {
    host_matrix<T> out(form_.rows, form_.cols);
    const std::vector<std::uint64_t>& shape = header_.shape;
    std::vector<std::uint64_t> index(shape.size(), 0);
    for (index_type i = 0; i < stored.size(); ++i) {
      std::uint64_t at = 0;
      for (std::size_t d = 0; d < shape.size(); ++d) at = at * shape[d] + index[d];
      out.data()[at] = stored.data()[i];
      for (std::size_t d = 0; d < shape.size() && ++index[d] == shape[d]; ++d) index[d] = 0;
    }
    return out;
  }

  byte_source source_;
  npy_header header_;
  std::uint64_t data_ = 0;
  matrix_shape form_;
};

/// Reads a .npy file of any plain dtype as a matrix of T.
template <class T>
host_matrix<T> read_npy(const std::filesystem::path& path, const npy_limits& limits = {}) {
  return npy_file::open(path, limits).matrix<T>();
}

namespace detail {

inline byte_vector npy_prefix(std::string_view descr, std::span<const std::uint64_t> shape) {
  std::string text = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  if (shape.size() == 1) text += ',';
  text += "), }";
  text.append(63 - (10 + text.size()) % 64, ' ');
  text += '\n';
  byte_vector out = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  append_le(out, static_cast<std::uint16_t>(text.size()));
  const byte_view view = as_byte_view(text);
  out.insert(out.end(), view.begin(), view.end());
  return out;
}

}  // namespace detail

/// The bytes of a version 1 .npy file with these values in row-major order; T is float, double or std::int64_t.
template <class T>
byte_vector npy_bytes(std::span<const T> values, const std::vector<std::uint64_t>& shape) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t>);
  const auto form = to_matrix_shape(shape);
  if (!form || form->elements != values.size() || shape.size() > 32)
    fail(error_category::usage, "negood.npy.10", "npy_bytes",
         std::to_string(values.size()) + " values are not those of the shape");
  byte_vector out = detail::npy_prefix(std::is_same_v<T, float>    ? "<f4"
                                       : std::is_same_v<T, double> ? "<f8"
                                                                   : "<i8",
                                       shape);
  append_scalars(out, values, scalar_type_of<T>());
  return out;
}

/// Saves a matrix as a two-dimensional .npy file, atomically. \throws error negood.io.6 where a system call fails
template <class T>
void write_npy(const std::filesystem::path& path, host_view<T> values, file_system& calls = default_file_system()) {
  const byte_vector bytes =
      npy_bytes(values.values(), {static_cast<std::uint64_t>(values.rows), static_cast<std::uint64_t>(values.cols)});
  write_file(path, byte_view(bytes), calls);
}
template <class T>
void write_npy(const std::filesystem::path& path, const host_matrix<T>& values,
               file_system& calls = default_file_system()) {
  write_npy(path, values.view(), calls);
}
/// Saves a vector as a one-dimensional .npy file: scores and labels.
template <class T>
void write_npy(const std::filesystem::path& path, const std::vector<T>& values,
               file_system& calls = default_file_system()) {
  const byte_vector bytes = npy_bytes(std::span<const T>(values), {values.size()});
  write_file(path, byte_view(bytes), calls);
}

}  // namespace negood
