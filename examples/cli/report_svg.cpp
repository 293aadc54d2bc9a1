#include "report_svg.hpp"

#include <negood/io/escape.hpp>
#include <negood/io/number.hpp>

#include <algorithm>
#include <cmath>

namespace negood::demo::svg {
namespace {

/// A coordinate with one digit, no more: a report holds thousands of them.
std::string coordinate(double v) {
  std::string out = format_fixed(std::isfinite(v) ? v : 0, 1);
  if (out.ends_with(".0")) out.resize(out.size() - 2);
  return out == "-0" ? "0" : out;
}

double step_of(double low, double high, int count) {
  const double raw = (high - low) / std::max(1, count);
  if (!(raw > 0) || !std::isfinite(raw)) return 0;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0})
    if (raw <= m * power * 1.0001) return m * power;
  return 10 * power;
}

std::string tick_text(double value, double step) {
  const int digits = step > 0 ? std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 8) : 3;
  std::string out = format_fixed(value, digits);
  if (out.find_first_not_of("-0.") == std::string::npos) return "0";
  if (out.front() == '-') out.replace(0, 1, "\u2212");
  return out;
}

double distance_to_segment(point p, point a, point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  const double t = length > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0) : 0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

}  // namespace

std::vector<point> roc(std::span<const double> id, std::span<const double> ood) {
  std::vector<double> a(id.begin(), id.end()), b(ood.begin(), ood.end());
  std::ranges::sort(a, std::ranges::greater{});
  std::ranges::sort(b, std::ranges::greater{});
  std::vector<point> out{{0, 0}};
  std::size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    const double score = j == b.size() || (i < a.size() && a[i] >= b[j]) ? a[i] : b[j];
    while (i < a.size() && a[i] == score) ++i;
    while (j < b.size() && b[j] == score) ++j;
    const point next{b.empty() ? 0 : static_cast<double>(j) / static_cast<double>(b.size()),
                     a.empty() ? 0 : static_cast<double>(i) / static_cast<double>(a.size())};
    const std::size_t n = out.size();  // a run of steps in one direction is one line
    if (n > 1 &&
        ((out[n - 1].x == next.x && out[n - 2].x == next.x) || (out[n - 1].y == next.y && out[n - 2].y == next.y)))
      out.back() = next;
    else
      out.push_back(next);
  }
  return out;
}

std::vector<double> histogram(std::span<const double> values, double low, double high, std::size_t bins) {
  std::vector<double> out(bins, 0.0);
  if (values.empty() || bins == 0) return out;
  for (const double v : values) {
    const double at = high > low ? (v - low) / (high - low) * static_cast<double>(bins) : 0;
    out[static_cast<std::size_t>(std::clamp(at, 0.0, static_cast<double>(bins) - 1))] += 1;
  }
  for (auto& v : out) v /= static_cast<double>(values.size());
  return out;
}

std::vector<point> thin(std::span<const point> line, double tolerance, point scale) {
  if (line.size() < 3) return {line.begin(), line.end()};
  const auto scaled = [&](point p) { return point{p.x / scale.x, p.y / scale.y}; };
  std::vector<bool> keep(line.size(), false);
  keep.front() = keep.back() = true;
  std::vector<std::pair<std::size_t, std::size_t>> todo{{0, line.size() - 1}};
  while (!todo.empty()) {
    const auto [first, last] = todo.back();
    todo.pop_back();
    double worst = tolerance;
    std::size_t at = first;
    for (std::size_t i = first + 1; i < last; ++i)
      if (const double d = distance_to_segment(scaled(line[i]), scaled(line[first]), scaled(line[last])); d > worst) {
        worst = d;
        at = i;
      }
    if (at == first) continue;
    keep[at] = true;
    todo.emplace_back(first, at);
    todo.emplace_back(at, last);
  }
  std::vector<point> out;
  for (std::size_t i = 0; i < line.size(); ++i)
    if (keep[i]) out.push_back(line[i]);
  return out;
}

std::vector<double> ticks(double low, double high, int count) {
  const double step = step_of(low, high, count);
  std::vector<double> out;
  if (step == 0) return {low};
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) out.push_back(k * step);
  return out;
}

axis fitted(double low, double high, std::string title, double least, int ticks) {
  if (!(low <= high) || !std::isfinite(low) || !std::isfinite(high)) low = 0, high = 1;
  const double width = std::max({high - low, least, 1e-9 * std::max(std::abs(low), std::abs(high)), 1e-12});
  const double middle = (low + high) / 2, half = width * 0.54;
  return {middle - half, middle + half, std::move(title), 1, ticks};
}

chart::chart(double width, double height, axis x, axis y, std::string_view spoken)
    : width_(width), height_(height), x_(std::move(x)), y_(std::move(y)), spoken_(spoken) {
  const auto xs = ticks(x_.low, x_.high, x_.ticks), ys = ticks(y_.low, y_.high, y_.ticks);
  const double x_step = x_.unit * (xs.size() > 1 ? xs[1] - xs[0] : 0);
  const double y_step = y_.unit * (ys.size() > 1 ? ys[1] - ys[0] : 0);
  std::size_t longest = 1;
  for (const double v : ys) {
    std::string text = tick_text(v * y_.unit, y_step);
    if (text.starts_with("\u2212")) text.erase(0, 2);  // three bytes, one character wide
    longest = std::max(longest, text.size());
  }
  left_ = 24 + 6.2 * static_cast<double>(longest);
  const double bottom = height_ - bottom_, right = width_ - right_;
  std::string grid;
  for (const double v : xs) {
    const std::string x_text = coordinate(place({v, y_.low}).x);
    grid += "M" + x_text + " " + coordinate(top_) + "V" + coordinate(bottom);
    body_ += "<text class=\"tk\" x=\"" + x_text + "\" y=\"" + coordinate(bottom + 13) + "\" text-anchor=\"middle\">" +
             tick_text(v * x_.unit, x_step) + "</text>";
  }
  for (const double v : ys) {
    const double y_at = place({x_.low, v}).y;
    grid += "M" + coordinate(left_) + " " + coordinate(y_at) + "H" + coordinate(right);
    body_ += "<text class=\"tk\" x=\"" + coordinate(left_ - 4) + "\" y=\"" + coordinate(y_at + 3.5) +
             "\" text-anchor=\"end\">" + tick_text(v * y_.unit, y_step) + "</text>";
  }
  body_ = "<path class=\"gr\" d=\"" + grid + "\"/>" + body_;
  body_ += "<path class=\"ax\" d=\"M" + coordinate(left_) + " " + coordinate(top_) + "V" + coordinate(bottom) + "H" +
           coordinate(right) + "\"/>";
  if (!x_.title.empty())
    body_ += "<text class=\"at\" x=\"" + coordinate((left_ + right) / 2) + "\" y=\"" + coordinate(height_ - 5) +
             "\" text-anchor=\"middle\">" + escape_html(x_.title) + "</text>";
  if (!y_.title.empty())
    body_ += "<text class=\"at\" transform=\"translate(11 " + coordinate((top_ + bottom) / 2) +
             ") rotate(-90)\" text-anchor=\"middle\">" + escape_html(y_.title) + "</text>";
}

point chart::place(point p) const {
  const double u = (p.x - x_.low) / (x_.high - x_.low), v = (p.y - y_.low) / (y_.high - y_.low);
  return {left_ + u * (width_ - left_ - right_), height_ - bottom_ - v * (height_ - bottom_ - top_)};
}

/// Relative line segments of one path: half the bytes of absolute ones.
std::string chart::path(std::span<const point> points) const {
  std::string out;
  double at_x = 0, at_y = 0;
  const auto rounded = [](double v) { return std::round(v * 10) / 10; };
  for (std::size_t i = 0; i < points.size(); ++i) {
    const point p = place(points[i]);
    const double x = rounded(p.x), y = rounded(p.y);
    if (i == 0) {
      out = "M" + coordinate(x) + " " + coordinate(y) + "l";
    } else {
      out += (i == 1 ? "" : " ") + coordinate(x - at_x) + " " + coordinate(y - at_y);
    }
    at_x = x;
    at_y = y;
  }
  if (points.size() == 1) out += "0 0";
  return out;
}

void chart::line(std::span<const point> points, std::string_view css) {
  if (points.empty()) return;
  body_ += "<path class=\"ln " + std::string(css) + "\" d=\"" + path(points) + "\"/>";
}

void chart::area(std::span<const point> points, std::string_view css) {
  if (points.empty()) return;
  const std::string bottom = coordinate(height_ - bottom_);
  body_ += "<path class=\"ar " + std::string(css) + "\" d=\"" + path(points) + "V" + bottom + "H" +
           coordinate(place(points.front()).x) + "Z\"/>";
}

void chart::bars(std::span<const double> heights, std::string_view css) {
  std::vector<point> outline;
  const double step = (x_.high - x_.low) / static_cast<double>(std::max<std::size_t>(1, heights.size()));
  for (std::size_t i = 0; i < heights.size(); ++i) {
    const double left = x_.low + step * static_cast<double>(i), h = std::min(heights[i], y_.high);
    if (outline.empty() || outline.back().y != h) {
      if (!outline.empty()) outline.push_back({left, outline.back().y});
      outline.push_back({left, h});
    }
  }
  if (!outline.empty()) outline.push_back({x_.high, outline.back().y});
  area(outline, css);
  line(outline, css);
}

void chart::mark(point at, int shape, double size, std::string_view css) {
  const point p = place(at);
  const std::string x = coordinate(p.x), y = coordinate(p.y), s = coordinate(size), w = coordinate(2 * size);
  const std::string start = "<path class=\"" + std::string(shape >= 4 ? "mk " : "pt ") + std::string(css) + "\" d=\"";
  switch (shape) {
    case 0:
      body_ += "<circle class=\"pt " + std::string(css) + "\" cx=\"" + x + "\" cy=\"" + y + "\" r=\"" + s + "\"/>";
      return;
    case 1:
      body_ += start + "M" + x + " " + coordinate(p.y - 1.2 * size) + "l" + coordinate(1.1 * size) + " " +
               coordinate(2 * size) + "h" + coordinate(-2.2 * size) + "z\"/>";
      return;
    case 2:
      body_ +=
          start + "M" + coordinate(p.x - size) + " " + coordinate(p.y - size) + "h" + w + "v" + w + "h-" + w + "z\"/>";
      return;
    case 3:
      body_ += start + "M" + x + " " + coordinate(p.y - 1.3 * size) + "l" + coordinate(1.3 * size) + " " +
               coordinate(1.3 * size) + " " + coordinate(-1.3 * size) + " " + coordinate(1.3 * size) + " " +
               coordinate(-1.3 * size) + " " + coordinate(-1.3 * size) + "z\"/>";
      return;
    case 4:
      body_ += start + "M" + coordinate(p.x - size) + " " + y + "h" + w + "m-" + s + " -" + s + "v" + w + "\"/>";
      return;
    case 5:
      body_ += start + "M" + coordinate(p.x - size) + " " + coordinate(p.y - size) + "l" + w + " " + w + "m-" + w +
               " 0l" + w + " -" + w + "\"/>";
      return;
    default:
      body_ += start + "M" + coordinate(p.x - size) + " " + y + "h" + w + "m-" + s + " -" + s + "v" + w + "m-" + s +
               " -" + w + "l" + w + " " + w + "m-" + w + " 0l" + w + " -" + w + "\"/>";
  }
}

void chart::vertical(double x, std::string_view css) {
  body_ += "<path class=\"vl " + std::string(css) + "\" d=\"M" + coordinate(place({x, 0}).x) + " " + coordinate(top_) +
           "V" + coordinate(height_ - bottom_) + "\"/>";
}

void chart::horizontal(double y, std::string_view css) {
  body_ += "<path class=\"vl " + std::string(css) + "\" d=\"M" + coordinate(left_) + " " + coordinate(place({0, y}).y) +
           "H" + coordinate(width_ - right_) + "\"/>";
}

void chart::text(point at, double dx, double dy, std::string_view anchor, std::string_view css, std::string_view what) {
  const point p = place(at);
  body_ += "<text class=\"" + std::string(css) + "\" x=\"" + coordinate(p.x + dx) + "\" y=\"" + coordinate(p.y + dy) +
           "\" text-anchor=\"" + std::string(anchor) + "\">" + escape_html(what) + "</text>";
}

void chart::labels(std::span<const label> all, double font) {
  struct box {
    double left, top, right, bottom;
  };
  std::vector<box> taken;
  const auto hits = [&](const box& b) {
    return std::ranges::any_of(taken, [&](const box& o) {
      return b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom;
    });
  };
  for (const auto& l : all) {
    const point p = place(l.at);
    const double text_width = 0.54 * font * static_cast<double>(l.text.size());
    const bool leftwards = p.x + 8 + text_width > width_ - right_;
    const double left = leftwards ? p.x - 8 - text_width : p.x + 8;
    double shift = 0;
    box b{};
    for (int attempt = 0; attempt < 60; ++attempt) {  // 0, +1, -1, +2, -2, ...
      shift = (attempt % 2 == 1 ? 1 : -1) * static_cast<double>((attempt + 1) / 2) * 0.5 * font;
      const double base = p.y + 0.35 * font + shift;
      b = {left, base - 0.85 * font, left + text_width, base + 0.2 * font};
      if (b.top >= top_ && b.bottom <= height_ - bottom_ && !hits(b)) break;
    }
    taken.push_back(b);
    const double base = b.bottom - 0.2 * font;
    if (std::abs(shift) > font)
      body_ += "<path class=\"ld " + l.css + "\" d=\"M" + coordinate(p.x) + " " + coordinate(p.y) + "L" +
               coordinate(leftwards ? left + text_width + 1 : left - 1) + " " + coordinate(base - 0.3 * font) + "\"/>";
    body_ += "<text class=\"lb " + l.css + "\" x=\"" + coordinate(left) + "\" y=\"" + coordinate(base) + "\">" +
             escape_html(l.text) + "</text>";
  }
}

std::string chart::str() const {
  return "<svg viewBox=\"0 0 " + coordinate(width_) + " " + coordinate(height_) + "\" role=\"img\" aria-label=\"" +
         escape_html(spoken_) + "\">" + body_ + "</svg>";
}

}  // namespace negood::demo::svg
