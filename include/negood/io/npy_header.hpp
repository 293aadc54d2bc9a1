/// \file npy_header.hpp  The header of a .npy file: a Python dictionary of three known keys, parsed without Python.
#pragma once

#include <negood/io/scalar.hpp>

#include <charconv>
#include <string>
#include <vector>

namespace negood {

/// What a .npy header says about the values that follow it.
struct npy_header {
  scalar_type dtype = scalar_type::unknown;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;
  std::string descr;  ///< as written, e.g. `<f4`
};

namespace detail {

/// A cursor over `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. Anything else ends in an error.
class npy_header_parser {
 public:
  npy_header_parser(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  npy_header parse() {
    npy_header out;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr" && !descr) {
        descr = true;
        descr_value(out);
      } else if (key == "fortran_order" && !order) {
        order = true;
        out.fortran_order = boolean();
      } else if (key == "shape" && !shape) {
        shape = true;
        tuple(out.shape);
      } else {
        refuse("its header has an unknown or repeated key");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip();
    if (at_ != text_.size()) refuse("its header goes on after the dictionary");
    if (!descr || !order || !shape) refuse("its header lacks descr, fortran_order or shape");
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(error_category::artifact, "negood.npy.3", file_, what + " (header byte " + std::to_string(at_) + ")");
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) refuse(std::string("its header lacks a '") + c + "'");
  }
  bool accept_word(std::string_view word) {
    skip();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::string_view string() {
    skip();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) refuse("its header lacks a string");
    const char quote = text_[at_];
    const std::size_t first = at_ + 1, last = text_.find(quote, first);
    if (last == std::string_view::npos) refuse("its header has a string without an end");
    at_ = last + 1;
    return text_.substr(first, last - first);
  }

  bool boolean() {
    if (accept_word("True")) return true;
    if (!accept_word("False")) refuse("fortran_order is neither True nor False");
    return false;
  }

  void tuple(std::vector<std::uint64_t>& shape) {
    expect('(');
    while (!accept(')')) {
      skip();
      std::uint64_t value = 0;
      const char* const first = text_.data() + at_;
      const auto [end, problem] = std::from_chars(first, text_.data() + text_.size(), value);
      if (problem != std::errc{}) refuse("its shape has a dimension that is not an unsigned 64-bit integer");
      at_ += static_cast<std::size_t>(end - first);
      accept('L');  // Python 2 wrote long integers so
      if (shape.size() == 32) refuse("its shape has more than 32 dimensions");
      shape.push_back(value);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }

  void descr_value(npy_header& out) {
    skip();
    if (at_ < text_.size() && text_[at_] == '[')
      fail(error_category::artifact, "negood.npy.5", file_, "holds a structured dtype",
           "save one field as a plain array: numpy.save('field.npy', array['field'])");
    const std::string_view d = string();
    out.descr = std::string(d.substr(0, 32));
    if (d.size() >= 2 && d[1] == 'O')
      fail(error_category::artifact, "negood.npy.4", file_,
           "holds Python objects (dtype object), which are pickled code",
           "if you trust its origin, convert it in Python: numpy.save('plain.npy', numpy.load('file.npy', "
           "allow_pickle=True).astype('float32'))");
    constexpr struct {
      std::string_view name;
      scalar_type type;
    } known[] = {{"f8", scalar_type::f64}, {"f4", scalar_type::f32}, {"f2", scalar_type::f16},
                 {"i8", scalar_type::i64}, {"i4", scalar_type::i32}, {"i2", scalar_type::i16},
                 {"i1", scalar_type::i8},  {"u8", scalar_type::u64}, {"u4", scalar_type::u32},
                 {"u2", scalar_type::u16}, {"u1", scalar_type::u8},  {"b1", scalar_type::boolean}};
    if (d.size() == 3)
      for (const auto& k : known)
        if (d.substr(1) == k.name) out.dtype = k.type;
    const std::size_t width = scalar_size(out.dtype);
    const bool order_known = !d.empty() && (d[0] == '<' || d[0] == '>' || d[0] == '=' || (d[0] == '|' && width == 1));
    if (width == 0 || !order_known)
      fail(error_category::artifact, "negood.npy.6", file_, "has an unsupported dtype '" + out.descr + "'",
           "save it as float32, float64, float16 or an integer type of up to 64 bits");
    out.big_endian = d[0] == '>' && width > 1;
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0;
};

}  // namespace detail

/// Parses the header text of a .npy file.
/// \throws error negood.npy.3 malformed, .4 object dtype, .5 structured dtype, .6 another unsupported dtype
inline npy_header parse_npy_header(std::string_view text, const std::string& file) {
  return detail::npy_header_parser(text, file).parse();
}

}  // namespace negood
