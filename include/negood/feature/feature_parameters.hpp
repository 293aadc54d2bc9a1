/// \file feature_parameters.hpp  The learned part of a feature map: residuals of scale and shift, and small networks.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/feature/feature_model.hpp>
#include <negood/train/random.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace negood {

/// F(v) = W2 relu(W1 v + b1) + b2, W1 `[H, D]`, W2 `[D, H]`, b1 `[1, H]`, b2 `[1, D]`. No rows where there is none.
template <class T>
struct meta_net_weights {
  T w1, b1, w2, b2;
};

/// The parameters of one partition. `T` is a matrix on the host or a tensor of a backend.
template <class T>
struct map_parameters {
  T scale;  ///< delta = alpha - 1, `[1, D]` or `[labels, D]`; no rows where there is none
  T shift;  ///< beta, likewise
  meta_net_weights<T> scale_net, shift_net;
};

/// f(name, tensor) for every tensor of one partition, in the order of files and optimisers. The names are those of
/// detector files, where `alpha` holds 1 + delta.
template <class P, class F>
void for_each_tensor(P&& p, F&& f) {
  f("alpha", p.scale);
  f("beta", p.shift);
  f("scale.w1", p.scale_net.w1);
  f("scale.b1", p.scale_net.b1);
  f("scale.w2", p.scale_net.w2);
  f("scale.b2", p.scale_net.b2);
  f("shift.w1", p.shift_net.w1);
  f("shift.b1", p.shift_net.b1);
  f("shift.w2", p.shift_net.w2);
  f("shift.b2", p.shift_net.b2);
}

/// A trained (or new) feature map on the host; it names no labels, so that it may be bound to others.
template <class Real>
struct feature_parameters {
  feature_model model;
  index_type width = 0;                                  ///< D
  index_type hidden = 0;                                 ///< H; 0 without networks
  std::vector<map_parameters<host_matrix<Real>>> parts;  ///< one, or classes and negatives

  /// Numbers that learn.
  index_type count() const {
    index_type total = 0;
    for (const auto& part : parts)
      for_each_tensor(part, [&](const char*, const host_matrix<Real>& m) { total += m.size(); });
    return total;
  }
  friend bool operator==(const feature_parameters& a, const feature_parameters& b) {
    return a.model == b.model && a.width == b.width && a.hidden == b.hidden && a.tensors() == b.tensors();
  }
  /// Every tensor under its name in a file: `pos.alpha`, `neg.shift.w2`, ...; `all.` where the partition is unified.
  /// alpha is 1 + delta in double, so that no residual is lost; tensors without rows are left out.
  std::vector<std::pair<std::string, host_matrix<double>>> tensors() const {
    std::vector<std::pair<std::string, host_matrix<double>>> out;
    for (std::size_t part = 0; part < parts.size(); ++part)
      for_each_tensor(parts[part], [&](std::string_view name, const host_matrix<Real>& m) {
        if (m.empty()) return;
        auto values = cast<double>(m);
        if (name == "alpha")
          for (double& v : values.values()) v += 1;
        out.emplace_back(part_name(part) + "." + std::string(name), std::move(values));
      });
    return out;
  }
  std::string part_name(std::size_t part) const {
    return model.partition == label_partition::unified ? "all" : part == 0 ? "pos" : "neg";
  }
};

/// The map that changes nothing: delta = 0, beta = 0, W2 = 0, b2 = 0, and W1, b1 uniform in +-1/sqrt(D), as PyTorch's
/// linear layers begin (with W1 = 0 too no gradient would ever flow).
///
/// `labels` has one entry a partition: its number of labels, used by parameters per label only.
/// \throws error negood.krnft.2 for a width, hidden width or number of labels that is not positive
template <class Real>
feature_parameters<Real> initial_feature_parameters(const feature_model& model, index_type width, index_type hidden,
                                                    const std::vector<index_type>& labels = {},
                                                    std::uint64_t seed = 1) {
  const auto usage = [](std::string what, std::string_view hint) {
    fail(error_category::usage, "negood.krnft.2", "feature_parameters", std::move(what), hint);
  };
  if (width < 1) usage("the width is " + std::to_string(width), "it is that of the features");
  if (model.conditional && hidden < 1) usage("the hidden width is " + std::to_string(hidden), "use 1 or more");
  if (model.per_label() && static_cast<index_type>(labels.size()) != model.parts())
    usage("a map with parameters per label needs the number of labels of every partition", "give them");
  feature_parameters<Real> out{model, width, model.conditional ? hidden : 0, {}};
  std::uint64_t drawn = 0;
  const double bound = 1 / std::sqrt(static_cast<double>(width));
  const auto uniform_rows = [&](index_type rows, index_type cols) {
    host_matrix<Real> m(rows, cols);
    for (Real& v : m.values()) v = static_cast<Real>(bound * (2 * uniform(seed, random_purpose::weights, drawn++) - 1));
    return m;
  };
  for (index_type part = 0; part < model.parts(); ++part) {
    const auto rows = [&](parameter_scope s) {
      return s == parameter_scope::none     ? index_type{0}
             : s == parameter_scope::shared ? index_type{1}
                                            : labels[static_cast<std::size_t>(part)];
    };
    const auto net = [&](bool there) -> meta_net_weights<host_matrix<Real>> {
      if (!there) return {};
      auto w1 = uniform_rows(hidden, width), b1 = uniform_rows(1, hidden);
      return {std::move(w1), std::move(b1), host_matrix<Real>(width, hidden), host_matrix<Real>(1, width)};
    };
    map_parameters<host_matrix<Real>> p;
    p.scale = host_matrix<Real>(rows(model.scale), model.scales() ? width : 0);
    p.shift = host_matrix<Real>(rows(model.shift), model.shifts() ? width : 0);
    p.scale_net = net(model.conditional && model.scales());
    p.shift_net = net(model.conditional && model.shifts());
    out.parts.push_back(std::move(p));
  }
  return out;
}

namespace detail {
/// Rows and columns of a tensor of one partition with so many labels; (0, 0) where the model has none of that name.
inline std::pair<index_type, index_type> parameter_shape(const feature_model& model, index_type width,
                                                         index_type hidden, index_type labels, std::string_view name) {
  const auto scope = name == "alpha" || name.starts_with("scale.") ? model.scale : model.shift;
  if (scope == parameter_scope::none) return {0, 0};
  if (name == "alpha" || name == "beta") return {scope == parameter_scope::shared ? 1 : labels, width};
  if (!model.conditional) return {0, 0};
  if (name.ends_with(".w1")) return {hidden, width};
  if (name.ends_with(".w2")) return {width, hidden};
  return {1, name.ends_with(".b1") ? hidden : width};
}
}  // namespace detail

/// The map in a list of tensors as `tensors()` gives them (a vector may be `[1, n]` or `[n, 1]`). Nothing is allocated
/// before all of them are known to be there in the right shape.
/// \throws error negood.krnft.3 for a tensor that is missing, of another shape, or not finite
template <class Real>
feature_parameters<Real> feature_parameters_of(const feature_model& model,
                                               const std::vector<std::pair<std::string, host_matrix<double>>>& tensors,
                                               index_type width, index_type hidden,
                                               const std::vector<index_type>& labels = {}) {
  feature_parameters<Real> out{model, width, model.conditional ? hidden : 0, {}};
  out.parts.resize(static_cast<std::size_t>(model.parts()));
  for (const bool filling : {false, true})
    for (std::size_t part = 0; part < out.parts.size(); ++part)
      for_each_tensor(out.parts[part], [&](std::string_view name, host_matrix<Real>& m) {
        const auto [rows, cols] =
            detail::parameter_shape(model, width, hidden, part < labels.size() ? labels[part] : 0, name);
        if (rows == 0) return;
        const auto wanted = out.part_name(part) + "." + std::string(name);
        const auto bad = [&](std::string what) {
          fail(error_category::artifact, "negood.krnft.3", "feature_parameters", wanted + " " + std::move(what));
        };
        const auto found = std::ranges::find_if(tensors, [&](const auto& t) { return t.first == wanted; });
        if (found == tensors.end()) bad("is missing");
        const auto& given = found->second;
        const bool same = given.rows() == rows && given.cols() == cols;
        const bool column = rows == 1 && given.cols() == 1 && given.rows() == cols;
        if (!same && !column)
          bad("is " + shape_string(given.rows(), given.cols()) + ", not " + shape_string(rows, cols));
        if (!filling) return;
        m = host_matrix<Real>(rows, cols);
        for (index_type i = 0; i < m.size(); ++i) {
          const double v = given.data()[i];
          if (!std::isfinite(v)) bad("holds a number that is not finite");
          m.data()[i] = static_cast<Real>(name == "alpha" ? v - 1 : v);
        }
      });
  return out;
}

/// The same map in another precision.
template <class To, class From>
feature_parameters<To> cast_parameters(const feature_parameters<From>& p) {
  feature_parameters<To> out{p.model, p.width, p.hidden, {}};
  for (const auto& part : p.parts) {
    std::vector<host_matrix<To>> values;
    for_each_tensor(part, [&](const char*, const host_matrix<From>& m) { values.push_back(cast<To>(m)); });
    auto& to = out.parts.emplace_back();
    std::size_t next = 0;
    for_each_tensor(to, [&](const char*, host_matrix<To>& m) { m = std::move(values[next++]); });
  }
  return out;
}

namespace detail {
/// Refuses parameters of another model, width or number of labels. \throws error negood.krnft.3
template <class Real>
void require_same_form(const feature_parameters<Real>& wanted, const feature_parameters<Real>& given,
                       std::string_view where) {
  std::vector<std::pair<index_type, index_type>> shapes[2];
  const feature_parameters<Real>* both[] = {&wanted, &given};
  for (int i = 0; i < 2; ++i)
    for (const auto& part : both[i]->parts)
      for_each_tensor(part,
                      [&](const char*, const host_matrix<Real>& m) { shapes[i].emplace_back(m.rows(), m.cols()); });
  if (!(wanted.model == given.model) || shapes[0] != shapes[1])
    fail(error_category::artifact, "negood.krnft.3", where,
         "the given map is " + std::string(format_feature_model(given.model)) + " of width " +
             std::to_string(given.width) + ", hidden width " + std::to_string(given.hidden) + "; wanted is " +
             std::string(format_feature_model(wanted.model)) + ", " + std::to_string(wanted.width) + ", " +
             std::to_string(wanted.hidden),
         "start from a map of the same model and widths");
}
}  // namespace detail

template <Backend B>
using device_parameters = std::vector<map_parameters<tensor_t<B>>>;

template <Backend B>
device_parameters<B> upload_parameters(B& ctx, const feature_parameters<real_t<B>>& p) {
  const auto up = [&](const host_matrix<real_t<B>>& m) { return ctx.from_host(m.view()); };
  const auto net = [&](const meta_net_weights<host_matrix<real_t<B>>>& n) {
    return meta_net_weights<tensor_t<B>>{up(n.w1), up(n.b1), up(n.w2), up(n.b2)};
  };
  device_parameters<B> out;
  for (const auto& part : p.parts)
    out.push_back({up(part.scale), up(part.shift), net(part.scale_net), net(part.shift_net)});
  return out;
}

/// Copies the values of `from` into `to`, which has the same shapes.
template <Backend B>
void download_parameters(B& ctx, const device_parameters<B>& from, feature_parameters<real_t<B>>& to) {
  for (std::size_t part = 0; part < from.size(); ++part) {
    std::vector<host_matrix<real_t<B>>> values;
    for_each_tensor(from[part], [&](const char*, const tensor_t<B>& t) { values.push_back(ctx.to_host(t)); });
    std::size_t next = 0;
    for_each_tensor(to.parts[part], [&](const char*, host_matrix<real_t<B>>& m) { m = std::move(values[next++]); });
  }
}

}  // namespace negood
