/// \file thread_team.hpp  A team of threads, so that what lanes do together on a device is tested on a processor.
#pragma once

#include <negood/config.hpp>

#include <barrier>
#include <cstring>
#include <thread>
#include <vector>

namespace team_test {

using negood::index_type;

/// Where the lanes of one team meet.
struct meeting {
  explicit meeting(index_type lanes) : gate(lanes), values(static_cast<std::size_t>(lanes)) {}
  std::barrier<> gate;
  std::vector<double> values;
};

class thread_team {
 public:
  thread_team(index_type lane, index_type lanes, meeting& m) : lane_(lane), lanes_(lanes), meeting_(&m) {}
  index_type lane() const { return lane_; }
  index_type lanes() const { return lanes_; }
  template <class F, class T>
  T fold(F f, T x) const {
    static_assert(sizeof(T) <= sizeof(double));
    std::memcpy(&meeting_->values[static_cast<std::size_t>(lane_)], &x, sizeof(T));
    meeting_->gate.arrive_and_wait();
    T all = of_lane<T>(0);
    for (index_type l = 1; l < lanes_; ++l) all = f(all, of_lane<T>(l));
    meeting_->gate.arrive_and_wait();  // before the next fold writes
    return all;
  }

 private:
  template <class T>
  T of_lane(index_type l) const {
    T x;
    std::memcpy(&x, &meeting_->values[static_cast<std::size_t>(l)], sizeof(T));
    return x;
  }
  index_type lane_, lanes_;
  meeting* meeting_;
};

/// kernel(team, r) for r in [0, n), all by one team of threads.
template <class Kernel>
void run_rows(index_type lanes, index_type n, const Kernel& kernel) {
  meeting m(lanes);
  std::vector<std::thread> threads;
  for (index_type lane = 0; lane < lanes; ++lane)
    threads.emplace_back([&kernel, &m, lane, lanes, n] {
      const thread_team team(lane, lanes, m);
      for (index_type r = 0; r < n; ++r) kernel(team, r);
    });
  for (std::thread& t : threads) t.join();
}

}  // namespace team_test
