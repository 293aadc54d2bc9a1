// Detectors that learn from what they score, on every backend, against the reference in double.
#include "algorithms.hpp"

#include <negood/stream/adaneg.hpp>
#include <negood/stream/clipscope.hpp>
#include <negood/stream/interneg.hpp>

using namespace conformance;

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: InterNeg's stream", "[conformance]", algorithm_backends) {
  const auto e = unit_rows(4, 8, 84, 6), p = unit_rows(4, 8, 85, 6), negative = unit_rows(6, 8, 86);
  const auto images = unit_rows(30, 8, 87, 1);
  interneg_options o;
  o.beta = 0.6;
  o.capacity = 5;
  o.inversion.steps = 2;
  const auto run = [&](auto& c) {
    const auto tower = small_tower(c);
    const auto e_float = cast<float>(e), p_float = cast<float>(p);
    interneg_stream stream(c, tower, tokenizer(), make_prompt_bank(c, upload(c, e), upload(c, negative), 6.0),
                           inter_modal_distances(e_float.view(), p_float.view()), o);
    std::vector<observation> who;
    for (index_type i = 0; i < images.rows(); ++i)
      who.push_back({static_cast<std::uint64_t>(100 + i), static_cast<std::uint64_t>(i % 5)});
    const auto answers = stream.observe(c.to_host(normalise_rows(c, upload(c, images)).unit), who);
    host_matrix<double> out(images.rows(), 3);
    for (index_type i = 0; i < images.rows(); ++i) {
      const auto& a = answers[static_cast<std::size_t>(i)];
      out(i, 0) = a.score;
      out(i, 1) = static_cast<double>(a.label_index);
      out(i, 2) = static_cast<double>(a.outcome == admission::admitted);
    }
    return std::vector<host_matrix<double>>{out};
  };
  compare<TestType>("interneg", 20 * TestType::allowed.product, run);
}

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: AdaNeg's stream", "[conformance]", algorithm_backends) {
  const auto positive = unit_rows(5, 16, 88, 2), negative = unit_rows(20, 16, 89), known = unit_rows(30, 16, 95, 2),
             unknown = unit_rows(30, 16, 96);
  for (const proxy_kind proxies : {proxy_kind::sample_adaptive, proxy_kind::task_adaptive}) {
    const auto run = [&](auto& c) {
      adaneg_options o;
      o.groups = 4;
      o.slots = 3;
      o.proxies = proxies;
      adaneg_stream stream(c, make_prompt_bank(c, upload(c, positive), upload(c, negative), 12.0), o);
      host_matrix<double> out(60, 2);
      for (index_type i = 0; i < 60; ++i) {
        const auto row = (i % 2 == 0 ? known : unknown).view().slice_rows(i / 2, 1);
        const observation who{static_cast<std::uint64_t>(i), 0};
        const auto a = stream
                           .observe(c.to_host(upload(c, host_matrix<double>(1, 16, {row.data, row.data + 16}))),
                                    std::span<const observation>(&who, 1))
                           .front();
        out(i, 0) = a.score;
        out(i, 1) = static_cast<double>(a.label_index);
      }
      // Learned from some of both kinds and not from all: the memory is what is compared.
      CHECK((stream.version() > 5 && stream.version() < 60));
      return std::vector<host_matrix<double>>{out};
    };
    compare<TestType>("adaneg", 20 * TestType::allowed.product, run);
  }
}

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: CLIPScope's counts", "[conformance]",
                        algorithm_backends) {
  const auto positive = unit_rows(5, 16, 88, 2), negative = unit_rows(20, 16, 89), images = unit_rows(60, 16, 95, 2);
  compare<TestType>("clipscope", 20 * TestType::allowed.product, [&](auto& c) {
    clipscope_stream stream(c, make_prompt_bank(c, upload(c, positive), upload(c, negative), 12.0));
    std::vector<observation> who;
    for (index_type i = 0; i < images.rows(); ++i) who.push_back({static_cast<std::uint64_t>(i), 0});
    const auto answers = stream.observe(c.to_host(upload(c, images)), who);
    host_matrix<double> out(images.rows(), 2);
    for (index_type i = 0; i < images.rows(); ++i) {
      out(i, 0) = answers[static_cast<std::size_t>(i)].log_odds;
      out(i, 1) = static_cast<double>(answers[static_cast<std::size_t>(i)].label_index);
    }
    return std::vector<host_matrix<double>>{out};
  });
}
