"""A runtime for MLServer, any ONNX file of one input and one output. MLServer imports it, in its own Python."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """parameters.uri: the file."""

    async def load(self) -> bool:
        """Make the session, as a worker of Collage's own does: one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self._settings.parameters.uri
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Inputs (B, C, H, W) -> the first output."""
        (tensor,) = payload.inputs
        inputs = NumpyCodec.decode_input(tensor)
        (output,) = self._session.get_outputs()
        (values,) = self._session.run([output.name], {tensor.name: inputs})
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output(output.name, values)],
        )
