/// \file io.hpp  Files: pictures, names, features, models, detectors and checkpoints. Needs the component `negood::io`.
#pragma once

#include <negood/io/checkpoint.hpp>
#include <negood/io/corpus.hpp>
#include <negood/io/detector.hpp>
#include <negood/io/encode_files.hpp>
#include <negood/io/feature_cache.hpp>
#include <negood/io/feature_checkpoint.hpp>
#include <negood/io/features.hpp>
#include <negood/io/idx.hpp>
#include <negood/io/image.hpp>
#include <negood/io/image_list.hpp>
#include <negood/io/json.hpp>
#include <negood/io/labels.hpp>
#include <negood/io/model.hpp>
#include <negood/io/names.hpp>
#include <negood/io/npy.hpp>
#include <negood/io/safetensors.hpp>
#include <negood/io/safetensors_writer.hpp>
