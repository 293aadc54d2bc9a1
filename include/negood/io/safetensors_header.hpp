/// \file safetensors_header.hpp  The JSON header of a safetensors file, read as a stream of events under caps.
#pragma once

#include <negood/io/scalar.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace negood {

/// What a header may ask for. The defaults hold any CLIP checkpoint; `header_bytes` cannot pass 100,000,000.
struct safetensors_limits {
  std::uint64_t file_bytes = std::uint64_t{16} << 30;
  std::uint64_t header_bytes = std::uint64_t{16} << 20;
  std::size_t tensors = 65'536;
  std::size_t metadata_entries = 4'096;
  std::size_t metadata_bytes = std::size_t{8} << 20;  ///< of one value
  std::size_t name_bytes = 4'096;                     ///< of a tensor's name or a metadata key
};

/// One tensor as its header describes it. Offsets count from the first data byte.
struct safetensors_tensor {
  std::string name;
  std::string dtype_name;  ///< as written in the file, also where negood does not know it
  scalar_type dtype = scalar_type::unknown;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;
  index_type rows = 0, cols = 0;  ///< the matrix form, see to_matrix_shape
};

using metadata_entry = std::pair<std::string, std::string>;

struct safetensors_header {
  std::vector<safetensors_tensor> tensors;  ///< in the order of their data
  std::vector<metadata_entry> metadata;     ///< in the order of the file
};

namespace detail {

inline constexpr std::size_t safetensors_max_rank = 8;

inline scalar_type safetensors_dtype(std::string_view name) noexcept {
  for (int i = 0; i < static_cast<int>(scalar_type::unknown); ++i)
    if (scalar_name(static_cast<scalar_type>(i)) == name) return static_cast<scalar_type>(i);
  return scalar_type::unknown;
}

/// A tensor name in a message: bounded, so that a hostile header cannot fill the terminal.
inline std::string quote_name(std::string_view name) {
  return name.size() <= 100 ? "'" + std::string(name) + "'" : "'" + std::string(name.substr(0, 97)) + "...'";
}

/// Receives nlohmann-json's events. Every callback returns false at the first thing a header must not hold, so nothing
/// after it is looked at, and depth never passes three.
class safetensors_events : public nlohmann::json_sax<nlohmann::json> {
 public:
  safetensors_events(safetensors_header& out, const safetensors_limits& limits) : out_(out), limits_(limits) {}

  std::string problem;  ///< empty where the header is well-formed

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(number_integer_t) override { return refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return refuse("a number that is not an unsigned 64-bit integer");
  }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == state::shape) {
      if (current_.shape.size() == safetensors_max_rank)
        return stop(where() + " has more than " + std::to_string(safetensors_max_rank) + " dimensions");
      current_.shape.push_back(value);
      return true;
    }
    if (state_ == state::offsets) {
      if (offsets_ == 2) return stop(where() + " has more than two data_offsets");
      (offsets_++ == 0 ? current_.begin : current_.end) = value;
      return true;
    }
    return refuse("a number");
  }

  bool string(string_t& value) override {
    if (state_ == state::metadata) {
      if (value.size() > limits_.metadata_bytes)
        return stop("metadata " + quote_name(key_) + " holds " + std::to_string(value.size()) +
                    " bytes; the limit is " + std::to_string(limits_.metadata_bytes));
      out_.metadata.emplace_back(key_, std::move(value));
      return true;
    }
    if (state_ == state::tensor && field_ == field::dtype) {
      if (value.size() > 32) return stop(where() + " has a dtype name of " + std::to_string(value.size()) + " bytes");
      current_.dtype = safetensors_dtype(value);
      current_.dtype_name = std::move(value);
      return true;
    }
    return refuse("a string");
  }

  bool start_object(std::size_t) override {
    if (state_ == state::start) {
      state_ = state::top;
      return true;
    }
    if (state_ != state::top) return refuse("an object");
    if (key_ == "__metadata__") {
      state_ = state::metadata;
      return true;
    }
    if (out_.tensors.size() == limits_.tensors)
      return stop("more than " + std::to_string(limits_.tensors) + " tensors");
    state_ = state::tensor;
    current_ = {};
    current_.name = key_;
    seen_ = offsets_ = 0;
    return true;
  }

  bool key(string_t& value) override {
    if (value.size() > limits_.name_bytes) return stop("a key of " + std::to_string(value.size()) + " bytes");
    if (state_ == state::tensor) {
      field_ = value == "dtype"          ? field::dtype
               : value == "shape"        ? field::shape
               : value == "data_offsets" ? field::offsets
                                         : field::none;
      if (field_ == field::none) return stop(where() + " has an unknown field " + quote_name(value));
      const unsigned bit = 1u << static_cast<unsigned>(field_);
      if (seen_ & bit) return stop(where() + " has the field " + quote_name(value) + " twice");
      seen_ |= bit;
      return true;
    }
    auto& keys = state_ == state::metadata ? metadata_keys_ : names_;
    if (state_ == state::metadata && keys.size() == limits_.metadata_entries)
      return stop("more than " + std::to_string(limits_.metadata_entries) + " metadata entries");
    if (!keys.emplace(value, 0).second) return stop("the key " + quote_name(value) + " stands twice");
    key_ = std::move(value);
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == state::tensor && field_ == field::shape)
      state_ = state::shape;
    else if (state_ == state::tensor && field_ == field::offsets)
      state_ = state::offsets;
    else
      return refuse("an array");
    return true;
  }

  bool end_array() override {
    if (state_ == state::offsets && offsets_ != 2) return stop(where() + " has fewer than two data_offsets");
    state_ = state::tensor;
    return true;
  }

  bool end_object() override {
    if (state_ == state::tensor) {
      if (seen_ != 0b111u) return stop(where() + " lacks dtype, shape or data_offsets");
      out_.tensors.push_back(std::move(current_));
    }
    state_ = state_ == state::top ? state::done : state::top;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return stop("its header is not valid JSON at byte " + std::to_string(position));
  }

 private:
  enum class state { start, top, metadata, tensor, shape, offsets, done };
  enum class field : unsigned { dtype, shape, offsets, none };

  std::string where() const { return "tensor " + quote_name(current_.name); }
  bool stop(std::string what) {
    if (problem.empty()) problem = std::move(what);
    return false;
  }
  bool refuse(std::string_view what) {
    const std::string place = state_ == state::start      ? "at the top level"
                              : state_ == state::top      ? "as the value of " + quote_name(key_)
                              : state_ == state::metadata ? "as the metadata value of " + quote_name(key_)
                                                          : "in " + where();
    return stop("its header has " + std::string(what) + " " + place);
  }

  safetensors_header& out_;
  const safetensors_limits& limits_;
  state state_ = state::start;
  field field_ = field::none;
  unsigned seen_ = 0, offsets_ = 0;
  std::string key_;
  safetensors_tensor current_;
  std::map<std::string, int, std::less<>> names_, metadata_keys_;  // ordered: no hash to flood
};

/// Checks shapes against spans, and the spans against the data: from 0, in order, no hole, no overlap, to the end.
inline void check_safetensors_layout(std::vector<safetensors_tensor>& tensors, std::uint64_t data_bytes,
                                     const std::string& file) {
  const auto refuse = [&](const safetensors_tensor& t, std::string_view code, const std::string& what) {
    fail(error_category::artifact, code, file, "tensor " + quote_name(t.name) + " " + what);
  };
  for (safetensors_tensor& t : tensors) {
    const std::string span = "[" + std::to_string(t.begin) + ", " + std::to_string(t.end) + ")";
    if (t.begin > t.end) refuse(t, "negood.safetensors.4", "has its data_offsets " + span + " reversed");
    if (t.end > data_bytes)
      refuse(t, "negood.safetensors.4",
             "spans " + span + " of " + std::to_string(data_bytes) + " data bytes: beyond the end");
    const auto form = to_matrix_shape(t.shape);
    if (!form) refuse(t, "negood.safetensors.5", "has a shape whose product overflows");
    t.rows = form->rows;
    t.cols = form->cols;
    if (t.dtype == scalar_type::unknown) continue;  // listable, but its span cannot be checked against its shape
    const auto bytes = checked_mul(form->elements, scalar_size(t.dtype));
    if (!bytes || *bytes != t.end - t.begin)
      refuse(t, "negood.safetensors.5",
             "spans " + std::to_string(t.end - t.begin) + " bytes, which is not its shape times the size of " +
                 t.dtype_name);
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const safetensors_tensor& a, const safetensors_tensor& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t at = 0;
  for (const safetensors_tensor& t : tensors) {
    if (t.begin != at)
      refuse(
          t, "negood.safetensors.4",
          (t.begin < at ? "overlaps the tensor before it: it begins at " : "leaves a hole before it: it begins at ") +
              std::to_string(t.begin) + ", the data before it ends at " + std::to_string(at));
    at = t.end;
  }
  if (at != data_bytes)
    fail(error_category::artifact, "negood.safetensors.4", file,
         std::to_string(data_bytes - at) + " trailing bytes after the last tensor");
}

}  // namespace detail

/// Reads the header text `text` of a file whose data are `data_bytes` long.
/// \throws error negood.safetensors.3 malformed, .4 bad offsets, .5 shape and span disagree; all category artifact
inline safetensors_header parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                                   const std::string& file, const safetensors_limits& limits = {}) {
  if (text.empty() || text.front() != '{')
    fail(error_category::artifact, "negood.safetensors.3", file, "its header does not start with '{'",
         "is it a safetensors file?");
  // The parser would take a NUL for the end of its input and not look at what follows.
  if (text.find('\0') != std::string_view::npos)
    fail(error_category::artifact, "negood.safetensors.3", file, "its header holds a NUL byte");
  safetensors_header out;
  detail::safetensors_events events(out, limits);
  const bool accepted = nlohmann::json::sax_parse(text.begin(), text.end(), &events);
  if (!accepted || !events.problem.empty())
    fail(error_category::artifact, "negood.safetensors.3", file,
         events.problem.empty() ? "its header is malformed" : events.problem);
  detail::check_safetensors_layout(out.tensors, data_bytes, file);
  return out;
}

}  // namespace negood
