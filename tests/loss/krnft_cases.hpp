// The golden cases of tests/golden/krnft.txt, and one evaluation of KR-NFT's loss from the host.
#pragma once

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/loss/krnft_objective.hpp>

#include <fstream>
#include <sstream>
#include <string>

namespace krnft_test {

using namespace negood;
using matrix = host_matrix<double>;

inline std::vector<double> numbers(std::istream& in) {
  std::string line;
  std::getline(in, line);
  std::istringstream words(line);
  std::vector<double> out;
  for (double v = 0; words >> v;) out.push_back(v);
  return out;
}
inline matrix read_matrix(std::istream& in, index_type rows, index_type cols) {
  return matrix(rows, cols, numbers(in));
}
inline std::vector<index_type> read_indices(std::istream& in) {
  std::vector<index_type> out;
  for (const double v : numbers(in)) out.push_back(static_cast<index_type>(v));
  return out;
}

/// One case: what goes in, and the losses and gradients that come out.
struct golden_case {
  std::string name;
  feature_model model;
  matrix classes, negatives, teacher_classes, teacher_negatives, rows, conditions;
  std::vector<index_type> permutation, condition_of, labels;
  std::vector<double> weights;
  index_type groups = 1;
  krnft_loss_options options;
  feature_parameters<double> parameters;
  double id = 0, outlier = 0, knowledge = 0, loss = 0;
  std::vector<matrix> gradients;
};

inline std::vector<golden_case> read_cases() {
  std::ifstream in(NEGOOD_GOLDEN_DIR "/krnft.txt");
  std::vector<golden_case> out;
  std::string word;
  while (in >> word && word == "case") {
    golden_case c;
    index_type n = 0, m = 0, d = 0, h = 0, k = 0, r = 0;
    int taught = 0;
    in >> c.name >> n >> m >> d >> h >> k >> r >> c.groups >> c.options.outlier_floor >> c.options.outlier_weight >>
        c.options.knowledge_weight >> c.options.scale >> taught;
    in.ignore();
    c.model = parse_feature_model(c.name);
    c.classes = read_matrix(in, n, d);
    c.negatives = read_matrix(in, m, d);
    c.permutation = read_indices(in);
    const matrix teacher = read_matrix(in, n + m, d);
    if (taught) {
      c.teacher_classes = matrix(n, d, {teacher.data(), teacher.data() + n * d});
      c.teacher_negatives = matrix(m, d, {teacher.data() + n * d, teacher.data() + (n + m) * d});
    }
    c.rows = read_matrix(in, r, d);
    c.conditions = read_matrix(in, k, d);
    c.condition_of = read_indices(in);
    c.labels = read_indices(in);
    c.weights = numbers(in);
    c.parameters = initial_feature_parameters<double>(
        c.model, d, h, c.model.parts() == 2 ? std::vector<index_type>{n, m} : std::vector<index_type>{n + m});
    for (auto& part : c.parameters.parts)
      for_each_tensor(part, [&](const char*, matrix& p) { p = read_matrix(in, p.rows(), p.cols()); });
    const auto losses = numbers(in);
    c.id = losses[0], c.outlier = losses[1], c.knowledge = losses[2], c.loss = losses[3];
    for (auto& part : c.parameters.parts)
      for_each_tensor(part, [&](const char*, matrix& p) {
        auto values = numbers(in);
        values.resize(static_cast<std::size_t>(p.size()));  // nothing where nothing learns
        c.gradients.push_back(matrix(p.rows(), p.cols(), values));
      });
    out.push_back(std::move(c));
  }
  return out;
}

struct evaluation {
  double loss = 0, id = 0, outlier = 0, knowledge = 0;
  conditioning_report conditioning;
  std::vector<matrix> gradients;
};

template <class B>
evaluation evaluate(B& ctx, const golden_case& c, const feature_parameters<double>& parameters,
                    feature_evaluation how = feature_evaluation::automatic, index_type rows_at_once = 256) {
  using real = real_t<B>;
  const auto here = [](const matrix& m) { return cast<real>(m); };
  const auto classes = here(c.classes), negatives = here(c.negatives), teacher = here(c.teacher_classes),
             teacher_negatives = here(c.teacher_negatives), rows = here(c.rows), conditions = here(c.conditions);
  const auto labels =
      make_label_set(ctx, c.model, classes.view(), negatives.view(), {.groups = c.groups, .permutation = c.permutation},
                     teacher.view(), teacher_negatives.view());
  feature_parameters<real> p{c.model, parameters.width, parameters.hidden, {}};
  for (const auto& part : parameters.parts) {
    map_parameters<host_matrix<real>> to;
    std::vector<host_matrix<real>> values;
    for_each_tensor(part, [&](const char*, const matrix& m) { values.push_back(cast<real>(m)); });
    std::size_t next = 0;
    for_each_tensor(to, [&](const char*, host_matrix<real>& m) { m = values[next++]; });
    p.parts.push_back(std::move(to));
  }
  const auto device = upload_parameters(ctx, p);
  const auto x = ctx.from_host(conditions.view());
  const auto maps = residual_maps(ctx, c.model, device, x);
  auto options = c.options;
  options.evaluation = how;
  options.rows_at_once = rows_at_once;
  const auto value =
      krnft_objective(ctx, c.model, labels, device, maps, {rows.view(), c.condition_of, c.labels, c.weights}, options);
  evaluation out{value.loss, value.id, value.outlier, value.knowledge, value.conditioning, {}};
  for (const auto& part : krnft_parameter_gradients(ctx, c.model, device, maps, x, value.gradients))
    for_each_tensor(part,
                    [&](const char*, const tensor_t<B>& t) { out.gradients.push_back(cast<double>(ctx.to_host(t))); });
  return out;
}

/// The largest difference, relative to the largest entry wanted.
inline double relative_difference(const matrix& got, const matrix& wanted) {
  if (got.size() != wanted.size()) return INFINITY;
  double worst = 0, size = 0;
  for (index_type i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::abs(got.data()[i] - wanted.data()[i]));
    size = std::max(size, std::abs(wanted.data()[i]));
  }
  return size > 0 ? worst / size : worst;
}

}  // namespace krnft_test
