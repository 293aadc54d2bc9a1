// Scoring many images against many texts: NegLabel's margin of N images over C positive and M negative texts.
//   scoring --images 10000 --positive 1000 --negative 4000 --dim 512 --threads 2 --precision f32 --repeats 7
// Prints one JSON line: median seconds for all images, seconds of a single image, user CPU, peak memory.
#include <negood/backend/eigen.hpp>
#include <negood/score/scores.hpp>
#include <negood/train/random.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>

using namespace negood;
using context = eigen::context<float>;

namespace {

rusage usage() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u;
}

host_matrix<float> unit_rows(index_type rows, index_type cols, std::uint64_t index) {
  host_matrix<float> m(rows, cols);
  random_sequence draw(1, random_purpose::weights, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (float& v : m.row(r)) {
      v = static_cast<float>(draw.next_uniform(-1, 1));
      n += double(v) * double(v);
    }
    for (float& v : m.row(r)) v = static_cast<float>(v / std::sqrt(n));
  }
  return m;
}

template <class F>
double median_seconds(int repeats, F&& f) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> o{{"images", "10000"}, {"positive", "1000"}, {"negative", "4000"}, {"dim", "512"},
                                       {"threads", "2"},    {"precision", "f32"}, {"repeats", "7"}};
  for (int i = 1; i + 1 < argc; i += 2) o[argv[i] + 2] = argv[i + 1];
  const auto number = [&](const char* key) { return static_cast<index_type>(std::stoll(o[key])); };
  context ctx({.threads = number("threads"), .precision = parse_precision(o["precision"])});
  const auto bank = make_prompt_bank(ctx, ctx.from_host(unit_rows(number("positive"), number("dim"), 1).view()),
                                     ctx.from_host(unit_rows(number("negative"), number("dim"), 2).view()), 100.0);
  const auto images = unit_rows(number("images"), number("dim"), 3);
  double checksum = 0;
  const auto score_all = [&] {
    checksum = 0;
    constexpr index_type block = 4096;
    for (index_type first = 0; first < images.rows(); first += block) {
      const auto rows = ctx.from_host(images.view().slice_rows(first, std::min(block, images.rows() - first)));
      const auto scores = ctx.to_host(neg_label{}(ctx, rows, bank));
      for (const float v : scores.values()) checksum += double(v);
    }
  };
  score_all();
  const double before = double(usage().ru_utime.tv_sec) + 1e-6 * double(usage().ru_utime.tv_usec);
  const int repeats = static_cast<int>(number("repeats"));
  const double all = median_seconds(repeats, score_all);
  const double user = (double(usage().ru_utime.tv_sec) + 1e-6 * double(usage().ru_utime.tv_usec) - before) / repeats;
  const auto one = ctx.from_host(images.view().slice_rows(0, 1));
  const double single =
      median_seconds(50, [&] { checksum += 0 * double(ctx.to_host(neg_label{}(ctx, one, bank))(0, 0)); });
  std::printf(
      "{\"bench\":\"scoring\",\"images\":%s,\"texts\":%lld,\"dim\":%s,\"threads\":%lld,\"precision\":\"%s\","
      "\"repeats\":%d,"
      "\"median_s\":%.6f,\"single_image_s\":%.6f,\"user_s\":%.6f,\"peak_gb\":%.3f,\"mean_score\":%.6f}\n",
      o["images"].c_str(), static_cast<long long>(number("positive") + number("negative")), o["dim"].c_str(),
      static_cast<long long>(ctx.threads()), std::string(format_precision(ctx.precision())).c_str(), repeats, all,
      single, user, double(usage().ru_maxrss) / 1e6, checksum / double(images.rows()));
}
