// AUROC, AUPR (both sides, both forms), FPR at 95 % recall (three conventions): time of `negood::evaluate`.
//
// bench_metrics [ID.f32 OOD.f32]: raw float32 scores written by bench/peers/metrics.py, so that both time the same
// numbers; without files, 50,000 + 10,000 and 5,000,000 + 5,000,000 normal scores. One JSON object a line; one thread.

#include <negood/metric/metric_state.hpp>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

namespace {

using negood::index_type;

template <class Real>
struct sets {
  std::vector<Real> id, ood;
};

sets<float> normal_scores(std::size_t n_id, std::size_t n_ood) {
  std::mt19937_64 g(1);
  std::normal_distribution<float> normal;
  sets<float> s{std::vector<float>(n_id), std::vector<float>(n_ood)};
  for (float& x : s.id) x = 0.30F + 0.05F * normal(g);
  for (float& x : s.ood) x = 0.22F + 0.05F * normal(g);
  return s;
}

std::vector<float> read_scores(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  if (!in || bytes.empty() || bytes.size() % sizeof(float) != 0)
    negood::fail(negood::error_category::io, "negood.bench.1", "bench_metrics", path + " holds no float32 values");
  std::vector<float> out(bytes.size() / sizeof(float));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(out.data()));
  return out;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class Work>
void measure(const char* name, const char* type, index_type n_id, index_type n_ood, int repeats, Work work) {
  std::vector<double> wall, cpu;
  negood::metric_report report = work();  // warm up
  for (int i = 0; i < repeats; ++i) {
    const std::clock_t cpu_start = std::clock();
    const auto start = std::chrono::steady_clock::now();
    report = work();
    wall.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    cpu.push_back(1e3 * static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
  }
  std::printf(
      "{\"name\":\"%s\",\"dtype\":\"%s\",\"n_id\":%lld,\"n_ood\":%lld,\"repeats\":%d,\"median_ms\":%.4f,\"min_ms\":%."
      "4f,"
      "\"cpu_ms\":%.4f,\"auroc\":%.17g,\"fpr95_ood_positive_first\":%.17g,\"aupr_in_trapezoid\":%.17g}\n",
      name, type, static_cast<long long>(n_id), static_cast<long long>(n_ood), repeats, median(wall),
      *std::min_element(wall.begin(), wall.end()), median(cpu), report.values->auroc,
      report.values->fpr.ood_positive_first, report.values->aupr_in_trapezoid);
  std::fflush(stdout);
}

void run(const sets<float>& f, int repeats) {
  const auto n = static_cast<index_type>(f.id.size()), m = static_cast<index_type>(f.ood.size());
  measure("evaluate", "float32", n, m, repeats, [&] { return negood::evaluate(f.id, f.ood); });
  // Doubles that differ in every digit: the sort skips digits that all scores share, as those widened from float do.
  sets<double> d{{f.id.begin(), f.id.end()}, {f.ood.begin(), f.ood.end()}};
  std::mt19937_64 g(2);
  std::uniform_real_distribution<double> noise(0.0, 1e-9);
  for (double& x : d.id) x += noise(g);
  for (double& x : d.ood) x += noise(g);
  measure("evaluate", "float64", n, m, repeats, [&] { return negood::evaluate(d.id, d.ood); });
  const negood::sorted_scores<float> id{std::span<const float>(f.id)};
  measure("evaluate, ID sorted before", "float32", n, m, repeats,
          [&] { return negood::evaluate(id, negood::sorted_scores<float>(std::span<const float>(f.ood))); });
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 3) {
    run({read_scores(argv[1]), read_scores(argv[2])}, 101);
  } else {
    run(normal_scores(50'000, 10'000), 101);
    run(normal_scores(5'000'000, 5'000'000), 5);
  }
} catch (const negood::error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return e.exit_code();
}
