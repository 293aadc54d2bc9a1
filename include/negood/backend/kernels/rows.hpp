/// \file rows.hpp  One row's work as a function object over plain pointers, for backends that run an index space.
///
/// `kernel(r)` computes column group or element r, `kernel(team, r)` row r by the lanes of a team (team.hpp); neither
/// writes anything else, so that a backend may run the indices in any order, on any number of threads, on the host or
/// on a device, and get the same bytes.
#pragma once

#include <negood/backend/kernels/team.hpp>

namespace negood::kernel {

/// out[r] = reduction of row r.
template <class T, class R>
struct reduce_row {
  R f;
  const T* a;
  index_type cols;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const T* row = a + r * cols;
    const T value = reduce<T>(team, f, cols, [=](index_type i) { return row[i]; });
    if (team.lane() == 0) out[r] = value;
  }
};

/// out[b] = reduction of a[b * length, (b + 1) * length), the last one cut at n.
template <class T, class R>
struct reduce_block {
  static constexpr index_type length = 1 << 14;
  R f;
  const T* a;
  index_type n;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type b) const {
    const index_type left = n - b * length;
    const T* part = a + b * length;
    const T value = reduce<T>(team, f, left < length ? left : length, [=](index_type i) { return part[i]; });
    if (team.lane() == 0) out[b] = value;
  }
};

/// out[b, c] = reduction over 64 rows of the columns c of one group; folding those rows again ends it. A group is a
/// vector register for processors and one column for devices, whose threads then read side by side.
template <class T, class R, int Group>
struct reduce_column_block {
  static constexpr index_type rows_per_block = 64, group = Group;
  R f;
  const T* a;
  index_type rows, cols;
  T* out;  ///< `[blocks, cols]`
  NEGOOD_HD static index_type groups(index_type cols) { return (cols + group - 1) / group; }
  NEGOOD_HD static index_type blocks(index_type rows) { return (rows + rows_per_block - 1) / rows_per_block; }
  NEGOOD_HD void operator()(index_type task) const {
    const index_type g = groups(cols), block = task / g, c0 = task % g * group;
    const index_type r0 = block * rows_per_block, r1 = r0 + rows_per_block < rows ? r0 + rows_per_block : rows;
    const int width = static_cast<int>(cols - c0 < group ? cols - c0 : group);
    T part[group];
    for (int j = 0; j < group; ++j) part[j] = R::template identity<T>();
    for (index_type r = r0; r < r1; ++r)
      for (int j = 0; j < width; ++j) part[j] = f(part[j], a[r * cols + c0 + j]);
    for (int j = 0; j < width; ++j) out[block * cols + c0 + j] = part[j];
  }
};

/// Largest value of a row, and the sum of exp(z - largest).
template <class T>
struct row_exponentials {
  T maximum, sum;
  template <class Team>
  NEGOOD_HD static row_exponentials of(const Team& team, const T* z, index_type n, T scale) {
    const T m = largest_of<T>(team, n, [=](index_type i) { return scale * z[i]; });
    return {m, sum_of<T>(team, n, [=](index_type i) { return std::exp(scale * z[i] - m); })};
  }
};

/// out[r] = log sum_j exp(z_rj).
template <class T>
struct logsumexp_row {
  const T* z;
  index_type cols;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const auto e = row_exponentials<T>::of(team, z + r * cols, cols, T(1));
    if (team.lane() == 0) out[r] = e.maximum + std::log(e.sum);
  }
};

/// Largest logit and log-sum-exp of scale * z_r.
template <class T>
struct logit_statistics_row {
  const T* z;
  index_type cols;
  T scale;
  T *maximum, *logsumexp;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const auto e = row_exponentials<T>::of(team, z + r * cols, cols, scale);
    if (team.lane() != 0) return;
    maximum[r] = e.maximum;
    logsumexp[r] = e.maximum + std::log(e.sum);
  }
};

/// out_rj = exp(z_rj - m_r) / sum_k exp(z_rk - m_r).
template <class T>
struct softmax_row {
  const T* z;
  index_type cols;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const T* from = z + r * cols;
    T* to = out + r * cols;
    const T m = largest_of<T>(team, cols, [=](index_type i) { return from[i]; });
    for_each(team, cols, [=](index_type i) { to[i] = std::exp(from[i] - m); });
    const T sum = sum_of<T>(team, cols, [=](index_type i) { return to[i]; });
    for_each(team, cols, [=](index_type i) { to[i] = to[i] / sum; });
  }
};

/// Mean and 1 / sqrt(variance + epsilon) of a row.
template <class T>
struct row_moments {
  T mean, per_sigma;
  template <class Team>
  NEGOOD_HD static row_moments of(const Team& team, const T* x, index_type n, T epsilon) {
    const T per_n = T(1) / static_cast<T>(n);
    const T mean = per_n * sum_of<T>(team, n, [=](index_type i) { return x[i]; });
    const T variance = per_n * sum_of<T>(team, n, [=](index_type i) { return (x[i] - mean) * (x[i] - mean); });
    return {mean, T(1) / std::sqrt(variance + epsilon)};
  }
};

/// y = gain * xhat + bias.
template <class T>
struct layer_norm_row {
  const T *x, *gain, *bias;
  index_type cols;
  T epsilon;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const T* from = x + r * cols;
    T* to = out + r * cols;
    const auto m = row_moments<T>::of(team, from, cols, epsilon);
    const T *a = gain, *b = bias;
    for_each(team, cols, [=](index_type i) { to[i] = (from[i] - m.mean) * m.per_sigma * a[i] + b[i]; });
  }
};

/// dx = (g - mean(g) - xhat mean(g xhat)) / sigma, g = gain * dy.
template <class T>
struct layer_norm_pullback_row {
  const T *x, *gain, *dy;
  index_type cols;
  T epsilon;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const T *from = x + r * cols, *d = dy + r * cols, *a = gain;
    T* to = out + r * cols;
    const auto m = row_moments<T>::of(team, from, cols, epsilon);
    const T per_n = T(1) / static_cast<T>(cols);
    const T mean_g = per_n * sum_of<T>(team, cols, [=](index_type i) { return d[i] * a[i]; });
    const T mean_gx =
        per_n * sum_of<T>(team, cols, [=](index_type i) { return (d[i] * a[i]) * ((from[i] - m.mean) * m.per_sigma); });
    for_each(team, cols, [=](index_type i) {
      to[i] = ((d[i] * a[i] - mean_g) - ((from[i] - m.mean) * m.per_sigma) * mean_gx) * m.per_sigma;
    });
  }
};

/// out_i = f'(x_i) dy_i for the derivative f' of an activation.
template <class T, class F>
struct times_derivative {
  F derivative;
  const T *x, *dy;
  T* out;
  NEGOOD_HD void operator()(index_type i) const { out[i] = derivative(x[i]) * dy[i]; }
};

/// out_rj += bias_j.
template <class T>
struct add_bias_row {
  const T* bias;
  index_type cols;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    T* row = out + r * cols;
    const T* b = bias;
    for_each(team, cols, [=](index_type i) { row[i] += b[i]; });
  }
};

/// out_rj = x_rj + (out_rj + bias_j).
template <class T>
struct add_bias_and_residual_row {
  const T *bias, *x;
  index_type cols;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    T* row = out + r * cols;
    const T *b = bias, *start = x + r * cols;
    for_each(team, cols, [=](index_type i) { row[i] = start[i] + (row[i] + b[i]); });
  }
};

/// f_rj += bias_j,  g_rj = act(f_rj).
template <class T, class Activation>
struct add_bias_and_activate_row {
  Activation activation;
  const T* bias;
  index_type cols;
  T *f, *g;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    T *before = f + r * cols, *after = g + r * cols;
    const T* b = bias;
    const Activation act = activation;
    for_each(team, cols, [=](index_type i) {
      before[i] += b[i];
      after[i] = act(before[i]);
    });
  }
};

}  // namespace negood::kernel
