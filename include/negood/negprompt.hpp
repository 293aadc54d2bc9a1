/// \file negprompt.hpp  NegPrompt (Li et al., CVPR 2024) and the detectors its tables compare with.
#pragma once

#include <negood/clip/model.hpp>
#include <negood/detector/detector.hpp>
#include <negood/prompt/fit_negprompt.hpp>
#include <negood/score/scores.hpp>
