// A program outside the project: it sees the core, the Eigen backend and the file component, and links to what they
// need.
#include <negood/backend/host_matrix.hpp>
#include <negood/io/atomic_file.hpp>
#if __has_include(<negood/backend/eigen.hpp>)
#include <negood/backend/eigen.hpp>
#endif

#include <Eigen/Core>

#include <cstdio>
// libjpeg's header needs <cstdio> before it.
#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include <nlohmann/json.hpp>

int main() {
#if __has_include(<negood/backend/eigen.hpp>)
  negood::eigen::context<float> ctx;
  const negood::host_matrix<float> values(2, 2, std::vector<float>{1, 2, 3, 4});
  if (ctx.to_host(ctx.from_host(values)) != values) return 2;
#endif
  const Eigen::Matrix2f twice = 2 * Eigen::Matrix2f::Identity();
  jpeg_error_mgr errors;
  const bool linked = jpeg_std_error(&errors) == &errors && png_access_version_number() > 0 && zlibVersion() != nullptr;
  return linked && twice.sum() == 4 && nlohmann::json::parse("[1]").size() == 1 ? 0 : 1;
}
