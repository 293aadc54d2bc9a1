/// \file interneg.hpp  InterNeg (Xu et al.): negative words by inter-modal distance, and a memory that learns at test
/// time. Standard library only.
#pragma once

#include <negood/detector/detector.hpp>
#include <negood/prompt/invert.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/stream/interneg.hpp>
