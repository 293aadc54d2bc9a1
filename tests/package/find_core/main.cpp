#include <negood/backend/host_matrix.hpp>

#include <string>

int main() {
  try {
    negood::host_matrix<float> m(2, 3);
    (void)negood::host_view<float>(std::span<const float>(m.values()), 5, 5);
  } catch (const negood::error& e) {
    return e.exit_code() == 3 && e.code() == "negood.shape.1" ? 0 : 1;
  }
  return 2;
}
