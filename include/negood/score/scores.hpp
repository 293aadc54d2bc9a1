/// \file scores.hpp  Detection scores of the zero-shot and negative-prompt family. Higher = more in-distribution,
/// always.
///
/// Each is a function object `(ctx, images [N, D], bank) -> [N, 1]`. `s` is the scale a score multiplies cosines with;
/// it is written out, never implied: training uses CLIP's logit scale (100), NegPrompt and MCM score with 1, NegLabel
/// with 100.
#pragma once

#include <negood/score/logit_statistics.hpp>
#include <negood/score/prompt_bank.hpp>

#include <variant>

namespace negood {

/// Anything that turns image features and a bank into one score an image.
template <class S, class B>
concept Scorer = requires(const S& score, B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) {
  { score(ctx, images, bank) } -> std::same_as<tensor_t<B>>;
};

/// The cosine to the nearest class: S = max_k <h, P_k>.
struct max_cosine {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    return logit_statistics(ctx, images, bank.packed_positive, 1.0).maximum;
  }
};

/// The largest logit: S = max_k s <h, P_k>, s = the model's logit scale. It ranks as `max_cosine` does.
struct max_logit {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    return logit_statistics(ctx, images, bank.packed_positive, bank.logit_scale).maximum;
  }
};

namespace detail {
/// exp(max - lse): the largest probability of a softmax, without a detour through small logarithms.
template <Backend B>
tensor_t<B> largest_probability(B& ctx, const tensor_t<B>& maximum, const tensor_t<B>& lse) {
  return ctx.map(element::exp{}, ctx.map(element::subtract{}, maximum, lse));
}
/// log(exp(a) + exp(b)) = a + softplus(b - a), element by element.
template <Backend B>
tensor_t<B> log_add(B& ctx, const tensor_t<B>& a, const tensor_t<B>& b) {
  return ctx.map(element::add{}, a, ctx.map(element::softplus{}, ctx.map(element::subtract{}, b, a)));
}
/// The log-sum-exp over the negatives of one group.
template <Backend B>
tensor_t<B> negative_logsumexp(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank, std::size_t group,
                               double scale, const char* where) {
  if (bank.packed_groups.empty())
    fail(error_category::usage, "negood.score.1", where, "the bank has no negatives", "use mcm, which needs none");
  return logit_statistics(ctx, images, bank.packed_groups[group], scale).logsumexp;
}
}  // namespace detail

/// Maximum concept matching (Ming et al. 2022): the largest softmax probability at temperature tau, S = max_k
/// softmax(<h, P_k>/tau).
struct mcm {
  double temperature = 1.0;
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    const auto z = logit_statistics(ctx, images, bank.packed_positive, 1 / temperature);
    return detail::largest_probability(ctx, z.maximum, z.logsumexp);
  }
};

/// Maximum softmax probability (Hendrycks & Gimpel 2017) of the model as trained: MCM at temperature 1 / logit_scale.
struct msp {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    const auto z = logit_statistics(ctx, images, bank.packed_positive, bank.logit_scale);
    return detail::largest_probability(ctx, z.maximum, z.logsumexp);
  }
};

/// Energy (Liu et al. 2020) at temperature 1: S = logsumexp_k s <h, P_k>, s = the model's logit scale.
struct energy {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    return logit_statistics(ctx, images, bank.packed_positive, bank.logit_scale).logsumexp;
  }
};

/// NegPrompt's score (Li et al. 2024, Eq. 3 with negatives in the denominator):
///
///     S = max_k exp(<h, P_k>/tau) / ( sum_k exp(<h, P_k>/tau) + sum_kl exp(<h, N_kl>/tau) ),   tau = 1
///
/// The released code divides CLIP's scale out before scoring; with s = 100 this is another, nearly one-hot detector.
struct mcm_with_negatives {
  double temperature = 1.0;
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    const auto positive = logit_statistics(ctx, images, bank.packed_positive, 1 / temperature);
    auto everything = ctx.clone(positive.logsumexp);
    for (std::size_t g = 0; g < std::max<std::size_t>(1, bank.packed_groups.size()); ++g)
      everything = detail::log_add(
          ctx, everything, detail::negative_logsumexp(ctx, images, bank, g, 1 / temperature, "mcm_with_negatives"));
    return detail::largest_probability(ctx, positive.maximum, everything);
  }
};

/// NegLabel (Jiang et al. 2024, Eq. 6) over G groups of negatives, in log-odds:
///
///     m_g = logsumexp_i(s <h, P_i>) - logsumexp_{j in g}(s <h, N_j>),   S = (1/G) sum_g sigmoid(m_g)
///     returned: log(S / (1 - S))
///
/// Strictly monotone in S, equal to m_1 for G = 1, and free of the ties a float sigmoid makes from a margin of 17 on.
/// `probability_of_log_odds` turns it back into S.
struct neg_label {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    const auto positive = logit_statistics(ctx, images, bank.packed_positive, bank.logit_scale).logsumexp;
    const auto margin = [&](std::size_t g) {
      return ctx.map(element::subtract{}, positive,
                     detail::negative_logsumexp(ctx, images, bank, g, bank.logit_scale, "neg_label"));
    };
    auto first = margin(0);
    if (bank.packed_groups.size() == 1) return first;
    // log sum_g sigmoid(m_g) - log sum_g sigmoid(-m_g); log sigmoid(m) = -softplus(-m)
    const auto log_sigmoid = [&](const tensor_t<B>& m, double sign) {
      return ctx.map(element::scale{-1.0}, ctx.map(element::softplus{}, ctx.map(element::scale{-sign}, m)));
    };
    auto inside = log_sigmoid(first, 1), outside = log_sigmoid(first, -1);
    for (std::size_t g = 1; g < bank.packed_groups.size(); ++g) {
      const auto m = margin(g);
      inside = detail::log_add(ctx, inside, log_sigmoid(m, 1));
      outside = detail::log_add(ctx, outside, log_sigmoid(m, -1));
    }
    return ctx.map(element::subtract{}, inside, outside);
  }
};

/// EOE (Cao et al. 2024): the negatives are labels that a language model imagined for classes that are not there,
///
///     S = max_i p_i - beta max_k p_k,   p = softmax over classes i and imagined labels k of <h, t>/tau,   tau = 1
///
/// in [-beta, 1]. The softmax is over plain cosines, as in the authors' program.
struct eoe {
  double beta = 0.25;
  double temperature = 1.0;
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    if (bank.packed_groups.size() != 1)
      fail(error_category::usage, "negood.score.1", "eoe",
           "the bank has " + std::to_string(bank.packed_groups.size()) + " groups of imagined labels", "give one");
    const auto known = logit_statistics(ctx, images, bank.packed_positive, 1 / temperature);
    const auto imagined = logit_statistics(ctx, images, bank.packed_groups[0], 1 / temperature);
    const auto everything = detail::log_add(ctx, known.logsumexp, imagined.logsumexp);
    return ctx.map(element::add_scaled{-beta}, detail::largest_probability(ctx, known.maximum, everything),
                   detail::largest_probability(ctx, imagined.maximum, everything));
  }
};

/// CLIPScope's score (Fu et al. 2024) without its counts of predicted classes, so that images do not depend on one
/// another:
///
///     S = P_k p_ID,   P_k = max_i softmax_i(s <h, P_i>),   p_ID = exp(A) / (exp(A) + exp(B))
///
/// in [0, 1]; A and B are the log-sum-exps over classes and negatives. With counts: stream/clipscope.hpp.
struct clipscope_score {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) const {
    const auto known = logit_statistics(ctx, images, bank.packed_positive, bank.logit_scale);
    auto negative = detail::negative_logsumexp(ctx, images, bank, 0, bank.logit_scale, "clipscope_score");
    for (std::size_t g = 1; g < bank.packed_groups.size(); ++g)
      negative = detail::log_add(ctx, negative,
                                 detail::negative_logsumexp(ctx, images, bank, g, bank.logit_scale, "clipscope_score"));
    const auto p_id = ctx.map(element::sigmoid{}, ctx.map(element::subtract{}, known.logsumexp, negative));
    return ctx.map(element::multiply{}, detail::largest_probability(ctx, known.maximum, known.logsumexp), p_id);
  }
};

/// S from the log-odds `neg_label` ranks with.
inline double probability_of_log_odds(double m) { return element::sigmoid{}(m); }

/// The scores a detector file can name.
using any_scorer =
    std::variant<max_cosine, max_logit, mcm, msp, energy, mcm_with_negatives, neg_label, eoe, clipscope_score>;

/// Index of the most similar positive of every image (the first of equals): the predicted class. Negatives never change
/// it.
template <Backend B>
std::vector<index_type> predict(B& ctx, const tensor_t<B>& images, const prompt_bank<B>& bank) {
  const auto best = ctx.top_k(ctx.matmul_nt(images, bank.packed_positive), 1).indices;
  return best.values();
}

}  // namespace negood
