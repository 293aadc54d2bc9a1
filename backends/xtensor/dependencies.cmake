# Installed as negood-xtensor-dependencies.cmake.

set(negood_dependencies BLAS LAPACK xtensor xtensor-blas Threads)
