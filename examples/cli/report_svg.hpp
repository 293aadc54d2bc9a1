// Small charts as inline SVG. Colours and line styles are classes c0..c7 of the page's style sheet, so that a chart
// follows light, dark and print.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace negood::demo::svg {

struct point {
  double x = 0, y = 0;
};

/// The corners of the ROC curve, x = share of OOD accepted, y = share of ID accepted, from (0, 0) to (1, 1). Equal
/// scores make one slanted step; exact, integers inside.
std::vector<point> roc(std::span<const double> id, std::span<const double> ood);

/// The share of the values in each of `bins` equal bins of [low, high]; what lies outside counts into the last bin on
/// its side.
std::vector<double> histogram(std::span<const double> values, double low, double high, std::size_t bins);

/// Leaves out points that the line through their neighbours misses by no more than `tolerance` (Ramer, Douglas,
/// Peucker), with x and y measured in `scale`.
std::vector<point> thin(std::span<const point> line, double tolerance, point scale = {1, 1});

/// Round numbers inside [low, high], about `count` of them.
std::vector<double> ticks(double low, double high, int count);

struct axis {
  double low = 0, high = 1;
  std::string title;
  double unit = 1;  ///< labels show value * unit: 100 for per cent
  int ticks = 5;
};

/// `values` padded to an axis; at least `least` wide, so that noise does not look like a trend.
axis fitted(double low, double high, std::string title, double least = 0, int ticks = 5);

/// One pair of axes with what is drawn in them.
class chart {
 public:
  /// `spoken` is what a screen reader says.
  chart(double width, double height, axis x, axis y, std::string_view spoken);

  void line(std::span<const point> points, std::string_view css);
  /// Filled down to the bottom of the axes.
  void area(std::span<const point> points, std::string_view css);
  /// Bars of a histogram as one outline; `y` of each bin, over the whole x axis.
  void bars(std::span<const double> heights, std::string_view css);
  /// One of seven shapes, 0 circle, 1 triangle, 2 square, 3 diamond, 4 plus, 5 cross, 6 star.
  void mark(point at, int shape, double size, std::string_view css);
  void vertical(double x, std::string_view css);
  void horizontal(double y, std::string_view css);
  /// Text at a data position; `anchor` is start, middle or end.
  void text(point at, double dx, double dy, std::string_view anchor, std::string_view css, std::string_view what);
  /// Labels beside their points, moved up or down where they would cover each other or leave the axes.
  struct label {
    point at;
    std::string text, css;
  };
  void labels(std::span<const label> all, double font);

  std::string str() const;

 private:
  point place(point p) const;
  std::string path(std::span<const point> points) const;

  double width_, height_, left_ = 44, right_ = 12, top_ = 8, bottom_ = 36;
  axis x_, y_;
  std::string spoken_, body_;
};

}  // namespace negood::demo::svg
