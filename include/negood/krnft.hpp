/// \file krnft.hpp  KR-NFT (Zhu et al., ACM MM 2025) and the other maps of frozen text features.
#pragma once

#include <negood/clip/encode_crops.hpp>
#include <negood/feature/fit_krnft.hpp>
#include <negood/feature/rank_crops.hpp>
#include <negood/feature/tuned_scorer.hpp>
#include <negood/loss/krnft_objective.hpp>
#include <negood/score/scores.hpp>
